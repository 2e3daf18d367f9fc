"use strict";

// A run is driven by this tab if it sends the calls: one after the other, until one is answered that it is complete.
// Whoever drives, the page only shows what `GET runs/RUN?parts=1` says. What this tab drives is kept in sessionStorage,
// so that a reload loses nothing and a link can't start anything.

const HOME = location.pathname.replace(/\/*$/, "/");
const SVG = "http://www.w3.org/2000/svg";
const STORED = "songcrawl-drives";
const FINISHED = ["complete", "held"];
const ENDED = [...FINISHED, "stopped"];
const QUIET_SECONDS = 60;
const LIST_SECONDS = 5;
// A stopped run's last parts are still being stored: its figures are final once they have stood still for so long.
const SETTLED_SECONDS = 10;

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const pause = (seconds) => new Promise((go) => setTimeout(go, seconds * 1000));

const drives = new Map();
const notes = new Map();
let planned = null;
let watched = "";
let older = "";
let pages = 1;

async function ask(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  try {
    const response = await fetch(HOME + path, {
      method,
      cache: "no-store",
      headers: { Accept: "application/json", ...headers },
      body: body && JSON.stringify(body),
    });
    const retryAfter = Number(response.headers.get("Retry-After")) || 10;
    return { status: response.status, retryAfter, content: await response.json().catch(() => ({})) };
  } catch {
    return { status: 0, retryAfter: 10, content: { detail: "The function can't be reached." } };
  }
}

const reasonOf = (answer) => answer.content.detail || `The function answered ${answer.status}.`;

// Start a crawl: first its time and cost, then the crawl itself under a name that the page knows from the start.

async function plan(event) {
  event.preventDefault();
  forgetPlan();
  byId("plan").disabled = true;
  const call = { songs: byId("songs").value.trim() };
  if (byId("rate").value.trim()) call.max_per_second = byId("rate").value.trim();
  if (byId("name").value.trim()) call.run = byId("name").value.trim();
  const [answer, recent] = await Promise.all([ask("POST", "", { ...call, dry_run: 1 }), ask("GET", "runs?limit=20")]);
  byId("plan").disabled = false;
  if (answer.status !== 200) return refuse(reasonOf(answer));
  const known = new Map((recent.content.runs || []).map((run) => [run.run, run.state]));
  const run = call.run || nameNotStopped(answer.content.run, known);
  if (known.get(run) === "stopped") return refuse(`The run ${run} was stopped; go on with it from the list of runs, or choose another name.`);
  planned = { ...call, run };
  byId("planned-text").textContent = planText(answer.content, run, known.get(run));
  byId("planned").hidden = false;
  byId("start").focus();
}

function nameNotStopped(name, known) {
  let run = name;
  for (let number = 2; known.get(run) === "stopped"; number += 1) run = `${name}-${number}`;
  return run;
}

function planText(answer, run, state) {
  const size = answer.remaining === null
    ? "As many songs as there are: time and cost show as it goes"
    : `${whole.format(answer.remaining)} songs: about ${duration(answer.elapsed_seconds)}, about ${money(answer.cost_usd)}`;
  const already = FINISHED.includes(state) ? ` It is ${state} already.` : state ? " It is begun: this goes on with it." : "";
  return `${size}. The run is called ${run}.${already}`;
}

function refuse(reason) {
  byId("refusal").textContent = reason;
  const field = { max_per_second: "rate", run: "name", The: "name" }[reason.split(" ")[0]] || "songs";
  byId(field).setAttribute("aria-invalid", "true");
  byId(field).focus();
}

function forgetPlan() {
  planned = null;
  byId("planned").hidden = true;
  byId("refusal").textContent = "";
  for (const id of ["songs", "rate", "name"]) byId(id).removeAttribute("aria-invalid");
}

function start() {
  const call = planned;
  forgetPlan();
  drive(call);
  show(call.run);
  byId("watch-title").focus();
}

// Drive a run: send its call, and the same again for as long as the function asks for that.

async function drive(call) {
  hold(call);
  while (drives.get(call.run) === call) {
    tell(call.run, "Keep this tab open: it sends the next call when this one's time is over.");
    const answer = await ask("POST", "", call);
    if (drives.get(call.run) !== call) return;
    if (answer.status === 202) return release(call.run, "The function goes on by itself: this tab may be closed.");
    if (answer.status === 200 || ENDED.includes(answer.content.state)) return release(call.run, "");
    const passing = [0, 429, 502, 503, 504].includes(answer.status);
    if (!passing) return release(call.run, reasonOf(answer));
    tell(call.run, `${reasonOf(answer)} This tab sends the next call in ${answer.retryAfter} s: keep it open.`);
    await pause(answer.retryAfter);
  }
}

// After a reload the call that was under way still is, but nobody hears its answer: wait until nothing moves any more.

async function resume(call) {
  hold(call);
  tell(call.run, "Keep this tab open: it sends the next call if nothing moves for a while.");
  let seen = "";
  let moved = Date.now();
  while (drives.get(call.run) === call) {
    const { status, content } = await ask("GET", `runs/${call.run}?parts=1`);
    if (status === 200 && ENDED.includes(content.state)) return release(call.run, "");
    const now = JSON.stringify([content.parts, content.requests]);
    const songsOfPart = content.coverage ? content.coverage.part_songs : 0;
    const quiet = QUIET_SECONDS + (call.max_per_second ? 1.5 * songsOfPart / call.max_per_second : 0);
    if (now !== seen) moved = Date.now();
    else if (Date.now() - moved > quiet * 1000) return drive(call);
    seen = now;
    await pause(5);
  }
}

function hold(call) {
  drives.set(call.run, call);
  keep();
}

function release(run, note) {
  drives.delete(run);
  keep();
  tell(run, note);
  listRuns();
}

function keep() {
  try {
    sessionStorage.setItem(STORED, JSON.stringify([...drives.values()]));
  } catch {
    // Without storage a reload only forgets to go on by itself.
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED)) || [];
  } catch {
    return [];
  }
}

function tell(run, note) {
  notes.set(run, note);
  if (run === watched) showNote();
}

function showNote() {
  const note = notes.get(watched) || "";
  if (byId("note").textContent !== note) byId("note").textContent = note;
  byId("note").hidden = !note;
}

// Watch a run, whoever drives it.

function show(run) {
  if (run !== new URLSearchParams(location.search).get("watch")) {
    history.pushState(null, "", run ? `${HOME}?watch=${run}` : HOME);
  }
  watch(run);
}

async function watch(run) {
  watched = run;
  document.title = run ? `${run} · Songcrawl` : "Songcrawl";
  byId("watch").hidden = !run;
  showSongsOf("");
  if (!run) return;
  clear(run);
  showNote();
  await begun(run);
  let misses = 0;
  let seen = "";
  let moved = Date.now();
  while (watched === run) {
    const asked = performance.now();
    const answer = await ask("GET", `runs/${run}?parts=1`);
    if (watched !== run) return;
    if (answer.status === 200) display(answer.content);
    else byId("about").textContent = reasonOf(answer);
    misses = answer.status === 404 ? misses + 1 : 0;
    const state = answer.content.state;
    const figures = JSON.stringify([answer.content.remaining, answer.content.parts]);
    if (figures !== seen) moved = Date.now();
    seen = figures;
    const settled = state === "stopped" && !drives.has(run) && Date.now() - moved > SETTLED_SECONDS * 1000;
    if (FINISHED.includes(state) || misses > 5 || settled) break;
    const took = (performance.now() - asked) / 1000;
    await pause(Math.max(document.hidden ? 10 : 1, 3 * took));
  }
  if (watched === run) listRuns();
}

// A run is there a moment after the call that begins it was sent: the list of runs tells without an error when.

async function begun(run) {
  for (let tries = 0; drives.has(run) && tries < 3; tries += 1) {
    const { content } = await ask("GET", "runs?limit=5");
    if ((content.runs || []).some((each) => each.run === run)) return listRuns();
    await pause(0.5);
  }
}

function clear(run) {
  byId("run").textContent = run;
  setState("");
  byId("about").textContent = "";
  for (const id of ["found", "missing", "failed", "remaining", "speed", "eta", "throttled", "cost"]) byId(id).textContent = "–";
  byId("progress").removeAttribute("value");
  byId("strip").replaceChildren();
  byId("said").textContent = "";
  byId("errors").textContent = "";
  byId("warnings").hidden = true;
  byId("report").href = `${HOME}runs/${run}`;
  byId("again").href = `${HOME}?songs=failed:${run}`;
  for (const id of ["stop", "accept", "go-on", "report", "again"]) byId(id).hidden = true;
}

function display(answer) {
  const done = answer.found + answer.missing + answer.failed;
  const driven = drives.has(answer.run);
  const state = driven && answer.state === "partial" ? "running" : answer.state;
  setState(state);
  byId("about").textContent = `Songs ${short(answer.songs)}, stored in ${answer.output}`;
  for (const name of ["found", "missing", "failed", "remaining", "throttled"]) {
    byId(name).textContent = answer[name] === null ? "not known yet" : whole.format(answer[name]);
  }
  byId("speed").textContent = answer.songs_per_second === null ? "–" : fine.format(answer.songs_per_second);
  byId("eta-name").textContent = FINISHED.includes(state) ? "Time at work" : "Time left";
  byId("eta").textContent = timeLeft(answer, state);
  byId("cost").textContent = money(answer.cost_usd);
  const share = answer.remaining === null ? null : done / Math.max(1, done + answer.remaining);
  setProgress(share);
  drawStrip(answer);
  byId("stop").hidden = ENDED.includes(answer.state);
  byId("accept").hidden = answer.state !== "held";
  if (answer.state === "held") tell(answer.run, answer.detail);
  byId("go-on").hidden = driven || !["partial", "stopped"].includes(answer.state);
  byId("go-on").dataset.stopped = answer.state === "stopped" ? "1" : "";
  byId("go-on").dataset.songs = answer.coverage.asked;
  byId("errors").textContent = errorsText(answer);
  byId("warnings").textContent = answer.warnings.join(" ");
  byId("warnings").hidden = !answer.warnings.length;
  byId("report").hidden = false;
  byId("again").hidden = !FINISHED.includes(answer.state) || !answer.failed;
  const percent = share === null ? "" : `${Math.floor(share * 100)}% · `;
  document.title = `${percent}${answer.run} · Songcrawl`;
  if (answer.parts) showSongsOf(answer.run);
  updateRow({ ...answer, state });
  announce(answer, state, share);
}

function errorsText({ errors, error_examples: examples = {} }) {
  const kinds = Object.entries(errors).map(([error, songs]) => {
    const first = (examples[error] || []).join(", ");
    return `${error}: ${whole.format(songs)}${first && ` (${first}${songs > examples[error].length ? ", …" : ""})`}`;
  });
  return kinds.length ? `Failed with ${kinds.join("; ")}` : "";
}

function setState(state) {
  byId("state").textContent = state;
  byId("state").className = `state ${state}`;
}

function setProgress(share) {
  if (share === null) byId("progress").removeAttribute("value");
  else byId("progress").value = share;
}

// For those who hear the page: each state, and every quarter of the way.

function announce(answer, state, share) {
  const quarter = share === null ? "" : `, ${Math.floor(share * 4) * 25}%`;
  const said = `${answer.run} is ${state}${quarter}`;
  if (byId("said").textContent !== said) byId("said").textContent = said;
}

function timeLeft(answer, state) {
  if (FINISHED.includes(state)) return duration(answer.elapsed_seconds);
  if (state === "stopped" || answer.remaining === null || !answer.songs_per_second) return "–";
  return duration(answer.remaining / answer.songs_per_second);
}

function drawStrip(answer) {
  const { committed, kept: begunParts, failing, grid } = answer.coverage;
  const places = [["done", committed], ["kept", begunParts], ["failing", failing]];
  const last = Math.max(1, ...[committed, begunParts].flatMap(ranges).map(([, end]) => end));
  byId("strip").setAttribute("viewBox", `0 0 ${grid || last} 1`);
  byId("strip").replaceChildren(...places.flatMap(([kind, text]) => ranges(text).map((range) => bar(kind, range))));
  const total = grid === null ? "an end not known yet" : `${whole.format(grid)} parts`;
  byId("strip").setAttribute("aria-label", `Stored: ${committed ? `parts ${short(committed)}` : "no part"} of ${total}`);
}

function ranges(text) {
  return text.split(",").filter(Boolean).map((piece) => {
    const [first, last] = piece.split("-").map(Number);
    return [first, last || first];
  });
}

function bar(kind, [first, last]) {
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", kind);
  rect.setAttribute("x", first - 1);
  rect.setAttribute("width", last - first + 1);
  rect.setAttribute("y", kind === "failing" ? 0.7 : 0);
  rect.setAttribute("height", kind === "failing" ? 0.3 : 1);
  return rect;
}

// Go on with the run from this tab; one that was stopped is resumed first.

async function goOn() {
  const { songs, stopped } = byId("go-on").dataset;
  const run = watched;
  if (stopped && !(await act("resume", "resumed", "go-on"))) return;
  drive({ songs, run });
}

// What may be done to the run that is watched: `deed` is the path that a button sends to. Tells whether it was done.

async function act(deed, done, button = deed) {
  const run = watched;
  byId(button).disabled = true;
  const answer = await ask("POST", `runs/${run}/${deed}`);
  byId(button).disabled = false;
  if (answer.status !== 200) {
    tell(run, `It could not be ${done}: ${reasonOf(answer)}`);
    return false;
  }
  release(run, "");
  if (watched === run) watch(run);
  return true;
}

// The list of runs.

async function listRuns(query = "") {
  const { status, content } = await ask("GET", `runs?limit=10${query && `&${query}`}`);
  if (status !== 200) return;
  const rows = content.runs.map(row);
  pages = query ? pages + 1 : 1;
  if (query) byId("runs").append(...rows);
  else byId("runs").replaceChildren(...rows);
  older = content.next;
  byId("older").hidden = !older;
  byId("runs-table").hidden = !byId("runs").children.length;
  byId("no-runs").hidden = !byId("runs-table").hidden;
}

function updateRow(run) {
  const line = [...byId("runs").children].find((each) => each.dataset.run === run.run);
  if (line && !line.contains(document.activeElement)) line.replaceWith(row(run));
}

// Runs that others drive move too: the list is read again as long as one of it does, unless older pages are shown.

async function refreshRuns() {
  for (;;) {
    await pause(LIST_SECONDS);
    const moving = [...byId("runs").children].some((line) => line.dataset.state === "running" && line.dataset.run !== watched);
    const busy = byId("runs").contains(document.activeElement);
    if (moving && !busy && !document.hidden && pages === 1) await listRuns();
  }
}

function row(run) {
  const watching = link(run.run, `${HOME}?watch=${run.run}`);
  watching.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(run.run);
    byId("watch-title").focus();
  });
  const report = link("Report", `${HOME}runs/${run.run}`);
  report.setAttribute("aria-label", `Report of ${run.run}`);
  const cells = [
    [watching], [run.state], [short(run.songs), "songs"], [whole.format(run.found + run.missing + run.failed), "figure"],
    [whole.format(run.failed), "figure"], [new Date(run.started_at).toLocaleString()], [report],
  ];
  const line = document.createElement("tr");
  line.dataset.run = run.run;
  line.dataset.state = run.state;
  line.append(...cells.map(([content, kind]) => cell(content, kind)));
  return line;
}

function cell(content, kind) {
  const made = document.createElement("td");
  if (kind) made.className = kind;
  made.append(content);
  return made;
}

function link(text, address) {
  const made = document.createElement("a");
  made.textContent = text;
  made.href = address;
  return made;
}

// Words for figures.

function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${fine.format(seconds / 86400)} days`;
}

function money(dollars) {
  if (dollars === null) return "–";
  return dollars >= 0.01 ? `$${dollars.toFixed(2)}` : dollars ? `$${dollars.toPrecision(2)}` : "$0";
}

function short(text) {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

byId("ask").addEventListener("submit", plan);
byId("ask").addEventListener("input", forgetPlan);
byId("start").addEventListener("click", start);
byId("stop").addEventListener("click", () => act("stop", "stopped"));
byId("accept").addEventListener("click", () => act("accept", "accepted"));
byId("go-on").addEventListener("click", goOn);
byId("refresh").addEventListener("click", () => listRuns());
byId("older").addEventListener("click", () => listRuns(older));
window.addEventListener("popstate", () => watch(new URLSearchParams(location.search).get("watch") || ""));

watch(byId("watch").dataset.run);
for (const call of kept()) resume(call);
listRuns();
refreshRuns();
