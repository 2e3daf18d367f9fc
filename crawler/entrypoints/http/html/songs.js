"use strict";

// The songs of the run that is watched: rows of its parts, one by its number or page after page.
// Whatever an API sent is shown as text; a row opens into a tree, which is made when it is first opened.

const PAGE_ROWS = 20;
const OPEN_LEVELS = 2;
const SUMMARY_CHARACTERS = 90;

let songsRun = "";
let moreRows = "";
let looks = 0;

function showSongsOf(run) {
  if (run === songsRun) return;
  songsRun = run;
  document.getElementById("songs-of-run").hidden = !run;
  document.getElementById("songs-run").textContent = run;
  document.getElementById("look-number").value = "";
  document.getElementById("look-status").value = "";
  if (run) look();
}

async function look(event) {
  if (event) event.preventDefault();
  const songNum = document.getElementById("look-number").value.trim();
  const status = document.getElementById("look-status").value;
  if (songNum) return showRows(`/${encodeURIComponent(songNum)}`);
  return showRows(`?limit=${PAGE_ROWS}${status && `&status=${status}`}`);
}

async function showRows(query, more = false) {
  const run = songsRun;
  looks += 1;
  const own = looks;
  const answer = await ask("GET", `runs/${run}/songs${query}`);
  if (own !== looks) return;
  const { songs = answer.status === 200 ? [answer.content] : [], next = null } = answer.content;
  if (!more) document.getElementById("rows").replaceChildren();
  document.getElementById("rows").append(...songs.map(songRow));
  moreRows = next ? `${query.replace(/&after=.*/, "")}&${next}` : "";
  document.getElementById("more-rows").hidden = !moreRows;
  const shown = document.getElementById("rows").children.length;
  document.getElementById("look-said").textContent = answer.status === 200
    ? (shown ? "" : "There is no such song among what is stored.")
    : answer.content.detail || `The function answered ${answer.status}.`;
}

function songRow(row) {
  const line = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const state = document.createElement("span");
  state.className = `status ${row.status}`;
  state.textContent = row.status;
  const brief = row.error || (row.info === null ? "" : JSON.stringify(row.info));
  summary.append(`${row.song_num} `, state, ` ${brief.slice(0, SUMMARY_CHARACTERS)}${brief.length > SUMMARY_CHARACTERS ? "…" : ""}`);
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(tree(row, 0));
  });
  line.append(details);
  return line;
}

function tree(value, level) {
  const list = document.createElement("ul");
  list.className = "tree";
  list.append(...Object.entries(value).map(([name, inner]) => branch(name, inner, level)));
  return list;
}

function branch(name, value, level) {
  const line = document.createElement("li");
  const label = document.createElement("span");
  label.className = "name";
  label.textContent = name;
  if (value === null || typeof value !== "object" || !Object.keys(value).length) {
    const text = document.createElement("code");
    text.textContent = JSON.stringify(value);
    line.append(label, " ", text);
    return line;
  }
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const count = Object.keys(value).length;
  summary.append(label, Array.isArray(value) ? ` [${count}]` : ` {${count}}`);
  details.append(summary);
  const grow = () => { if (details.children.length === 1) details.append(tree(value, level + 1)); };
  details.addEventListener("toggle", () => { if (details.open) grow(); });
  if (level < OPEN_LEVELS && count <= 20) {
    grow();
    details.open = true;
  }
  line.append(details);
  return line;
}

document.getElementById("look").addEventListener("submit", look);
document.getElementById("look-status").addEventListener("change", look);
document.getElementById("more-rows").addEventListener("click", () => showRows(moreRows, true));
