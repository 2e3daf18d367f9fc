#!/usr/bin/env bash
# Deploy Songcrawl to a Google Cloud project, or take it down again: ./deploy.sh --help
#
# Read it from the end: `deploy` lists what is made, each by one function of its own. Everything is created if it is not
# there and else brought to what the settings say, so that another run changes nothing that need not change.
set -euo pipefail
CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

# What this script reads itself.
DEPLOY_SETTINGS="PROJECT REGION FUNCTION BUCKET SCHEDULE SCHEDULE_SONGS SNAPSHOT_SCHEDULE TIME_ZONE ATTEMPT_DEADLINE MEMORY
    CPU TIMEOUT CONCURRENCY FAN_OUT TASKS_AT_ONCE TASKS_PER_SECOND HEADERS_SECRET SONG_HEADERS
    TOKEN_SECRET TOKEN_FORM TOKEN_HEADERS_SECRET TOKEN_HEADERS"
# Which setting names the secret that becomes which setting of the function.
SECRETS="HEADERS_SECRET:SONG_HEADERS TOKEN_SECRET:TOKEN_FORM TOKEN_HEADERS_SECRET:TOKEN_HEADERS"
# What the function reads: passed on where it is set. OUTPUT, DEADLINE_SECONDS and THREADS always are.
CRAWL_SETTINGS="SOURCE SOURCE_NAME SONG_URL SONG_METHOD SONG_BODY KEYS SONG_INFO SONG_MISSING SONG_RETRY RESPONSE_RULES
    SONG_FUNCTION FORMAT PART_SONGS MAX_PER_SECOND MAX_AT_ONCE REQUEST_TIMEOUT_SECONDS MAX_ATTEMPTS MAX_SONG_BYTES MAX_SONGS
    END_AFTER_MISSING MAX_FAILED MIN_FOUND ROBOTS TOKEN_URL USER_AGENT SSL_CERT_FILE REDIRECTS RATE_HEADERS
    ALLOW_PRIVATE_UPSTREAM OUTPUT
    DEADLINE_SECONDS"
# What is known, and left out: emulators are for tests, and where the queue is this script says itself.
LEFT_OUT="STORAGE_EMULATOR_HOST CLOUD_TASKS_EMULATOR_HOST QUEUE SERVICE_URL INVOKER"

help() {
    cat <<'END'
Deploy Songcrawl to a Google Cloud project: a private function, its bucket, and a job that calls it on schedule.

  ./deploy.sh            create what is not there, update what is; run it as often as you like
  ./deploy.sh --dry-run  print the commands of a first deployment, quoted for a shell; calls nothing
  ./deploy.sh --delete   delete everything but the bucket, after asking
  ./deploy.sh --help     this

Settings come from the environment, or from a file .env beside this script, which the environment overrules. It holds
lines NAME=value, quoted as in a shell where that is needed; nothing in it is run or expanded.

What is crawled; one of the three is needed:
  SOURCE           an API by name, such as deezer-tracks (songcrawl sources lists them), or a TOML file of your own;
                   upload that one with a line !/FILE.toml in .gcloudignore
  SONG_URL         URL template, such as https://api.deezer.com/track/{song_num}
  SONG_FUNCTION    module:function of your own, instead; upload its file with a line !/module.py in .gcloudignore

Where:
  PROJECT          the project                                        (gcloud's own: gcloud config get project)
  REGION           the region of everything                           (us-central1)
  FUNCTION         name of the function, and of all that belongs to it (songcrawl)
  BUCKET           bucket for the runs                                (PROJECT-songs)

When; without SCHEDULE there is no job:
  SCHEDULE         cron, such as "0 3 * * *": minute, hour, day of month, month, day of week
  TIME_ZONE        in which it is read, such as Europe/Berlin         (UTC)
  SCHEDULE_SONGS   what a scheduled call asks for                     (next:5000)
  ATTEMPT_DEADLINE how long a job waits for an answer, 1800s at most   (TIMEOUT, or 1800s)
  SNAPSHOT_SCHEDULE  cron of a job of its own that makes one table of all runs, the newest row of each song; some while
                   after the crawl's: only complete runs are in it

How large:
  TIMEOUT          how long a call may take, 3600s at most            (1800s)
  MEMORY, CPU      of an instance, as Cloud Run takes them together   (512Mi, 1)
  CONCURRENCY      calls that an instance answers at the same time: one that crawls, and those that watch or stop it
                                                                      (8; with FAN_OUT=1: 1)
  FAN_OUT          1: runs too large for one call go over many instances, by a queue
                                                                      (0: one instance at most)
  TASKS_AT_ONCE    with FAN_OUT=1: so many instances at once, each with an equal share of MAX_PER_SECOND
                                                                      (a twentieth of MAX_PER_SECOND, 1 to 100)
  TASKS_PER_SECOND with FAN_OUT=1: ceiling on deliveries of the queue, 500 at most
                                                                      (10)

Request headers that hold a key:
  HEADERS_SECRET   name of the secret in Secret Manager that becomes SONG_HEADERS
  SONG_HEADERS     JSON object of headers; stored in that secret, never in the function's settings

An API that wants access tokens (TOKEN_URL), and what it gives them for; secrets as the above:
  TOKEN_SECRET     name of the secret that becomes TOKEN_FORM
  TOKEN_FORM       JSON object of form fields, such as {"grant_type": "client_credentials", "client_secret": "..."}
  TOKEN_HEADERS_SECRET, TOKEN_HEADERS
                   the same for headers, where the API wants Basic authentication

All other settings of the crawl are passed on: SOURCE_NAME, SONG_METHOD, SONG_BODY, REDIRECTS, KEYS
(gs://bucket/object), SONG_INFO, SONG_MISSING, SONG_RETRY, RESPONSE_RULES (@file: one that .gcloudignore lets in),
FORMAT, PART_SONGS, MAX_PER_SECOND, MAX_AT_ONCE, REQUEST_TIMEOUT_SECONDS, MAX_ATTEMPTS, MAX_SONG_BYTES, MAX_SONGS,
END_AFTER_MISSING, MAX_FAILED, MIN_FOUND, ROBOTS, USER_AGENT, SSL_CERT_FILE (a file that .gcloudignore lets in),
RATE_HEADERS, TOKEN_URL, ALLOW_PRIVATE_UPSTREAM, OUTPUT (below the bucket), DEADLINE_SECONDS (below TIMEOUT).
README.md says what each means.

docs/deploy.md goes through it step by step: what to type, what it costs, who may do what, how to take it down.
END
}

# ---------------------------------------------------------------------------------------------------------- speaking

die() {
    printf 'deploy.sh: %s\n' "$*" >&2
    exit 1
}

quoted() { # the arguments, so that a shell reads them again as they are
    local word line="" mark="'" escaped="'\\''"
    for word in "$@"; do
        if ! [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then
            word="'${word//$mark/$escaped}'"
        fi
        line="$line $word"
    done
    printf '%s\n' "${line# }"
}

run() { # carry out a gcloud command, or print it
    if [[ $DRY_RUN ]]; then
        quoted gcloud "$@"
    else
        quoted gcloud "$@" >&2
        gcloud "$@" >/dev/null
    fi
}

there() { # tell whether a `gcloud ... describe` finds something
    if [[ $DRY_RUN ]]; then
        [[ $DELETE ]] && return 0
        printf '# unless it is there: %s\n' "$(quoted gcloud "$@")"
        return 1
    fi
    gcloud "$@" >/dev/null 2>&1
}

grant() { # bind a role; a service account made a moment ago may not be known everywhere yet
    local error tries=0
    if [[ $DRY_RUN ]]; then
        quoted gcloud "$@"
        return
    fi
    quoted gcloud "$@" >&2
    until error=$(gcloud "$@" 2>&1 >/dev/null); do
        tries=$((tries + 1))
        if [[ $error != *"does not exist"* ]] || ((tries == 10)); then
            die "$error"
        fi
        sleep 6
    done
}

# ---------------------------------------------------------------------------------------------------------- settings

is_listed() { # is_listed NAME "NAMES"
    [[ " ${2//[[:space:]]/ } " == *" $1 "* ]]
}

unquoted() { # the value of a .env line: 'as it is', "with \" and \` for the quotes", or bare, up to a comment
    local text=$1 mark
    text="${text%"${text##*[![:space:]]}"}"
    if [[ $text =~ ^\'([^\']*)\'$ ]]; then
        text=${BASH_REMATCH[1]}
    elif [[ $text =~ ^\"(.*)\"$ ]]; then
        text=${BASH_REMATCH[1]}
        for mark in \" \` "\$" \\; do
            text="${text//\\"$mark"/$mark}"
        done
    elif [[ $text =~ ^[\'\"] ]]; then
        return 1
    else
        text="${text%%[[:space:]]#*}"
        text="${text%"${text##*[![:space:]]}"}"
    fi
    printf '%s' "$text"
}

read_env_file() { # set what .env says and the environment does not; nothing of it is run
    local line name value number=0
    [[ -f .env ]] || return 0
    while IFS= read -r line || [[ $line ]]; do
        number=$((number + 1))
        line="${line%$'\r'}"
        if [[ $line =~ ^[[:space:]]*(#.*)?$ ]]; then
            continue
        fi
        if ! [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
            die "Line $number of .env is no NAME=value; allowed: one setting a line, comments that begin with #."
        fi
        name=${BASH_REMATCH[2]}
        if ! is_listed "$name" "$DEPLOY_SETTINGS $CRAWL_SETTINGS $LEFT_OUT"; then
            die "Line $number of .env sets $name, which is no setting; --help lists them."
        fi
        value=$(unquoted "${BASH_REMATCH[3]}") || die "Line $number of .env: the value of $name has no closing quote."
        if [[ -z ${!name+set} ]]; then
            printf -v "$name" '%s' "$value"
        fi
    done <.env
}

set_defaults() {
    local name
    for name in $DEPLOY_SETTINGS $CRAWL_SETTINGS; do
        printf -v "$name" '%s' "${!name-}"
    done
    PROJECT=${PROJECT:-${CLOUDSDK_CORE_PROJECT-}}
    if [[ -z $PROJECT && $DRY_RUN ]]; then
        PROJECT=your-project
        printf '# PROJECT is not set, and gcloud, which may know one, is not asked.\n'
    fi
    PROJECT=${PROJECT:-$(gcloud config get-value project 2>/dev/null)} || true
    REGION=${REGION:-us-central1}
    FUNCTION=${FUNCTION:-songcrawl}
    BUCKET=${BUCKET:-$PROJECT-songs}
    SCHEDULE_SONGS=${SCHEDULE_SONGS:-next:5000}
    TIME_ZONE=${TIME_ZONE:-UTC}
    MEMORY=${MEMORY:-512Mi}
    CPU=${CPU:-1}
    TIMEOUT=${TIMEOUT:-1800s}
    FAN_OUT=${FAN_OUT:-0}
    OUTPUT=${OUTPUT:-gs://$BUCKET}
    TASKS_PER_SECOND=${TASKS_PER_SECOND:-10}
}

matches() { # matches NAME REGEX ALLOWED
    [[ ${!1} =~ ^($2)$ ]] || die "$1 is '${!1}'; allowed: $3."
}

whole_number() { # whole_number NAME LEAST MOST WHAT
    matches "$1" '[0-9]{1,9}' "$4"
    printf -v "$1" '%d' "$((10#${!1}))"
    ((${!1} >= $2 && ${!1} <= $3)) || die "$1 is ${!1}; allowed: $4."
}

seconds() { # seconds NAME LEAST MOST WHAT: read 1800, 1800s or 30m; a duration becomes its number of seconds
    matches "$1" '[0-9]{1,6}[sm]?' "$4"
    local number=${!1%[sm]}
    [[ ${!1} == *m ]] && number="$((10#$number * 60))"
    printf -v "$1" '%d' "$((10#$number))"
    ((${!1} >= $2 && ${!1} <= $3)) || die "$1 is ${!1}s; allowed: $4."
}

less_a_reserve() { # so many seconds less 5 %, 2 at least: the answer must be back before the platform gives up
    echo "$(($1 - ($1 / 20 > 2 ? $1 / 20 : 2)))"
}

check_settings() {
    check_places
    [[ $DELETE ]] || check_songs
    check_times
    check_instance
    check_fan_out
    check_schedule
}

check_places() {
    [[ -f main.py && -f requirements.txt && -f .gcloudignore && -d crawler ]] ||
        die "There is no main.py beside this script, or not all that belongs to it; run the one in the project's folder."
    [[ $PROJECT ]] || die "PROJECT is not set, and gcloud has none; allowed: the id of a project you may deploy to."
    matches PROJECT '([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]' "the id of a project, such as my-project-123"
    matches REGION '[a-z]+-[a-z]+[0-9]+' "a region, such as us-central1 or europe-west1"
    matches FUNCTION '[a-z][a-z0-9-]{0,20}[a-z0-9]' \
        "2 to 22 lower-case letters, digits and hyphens, a letter first: service accounts are named after it"
    matches BUCKET '[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]' \
        "the name of a bucket: 3 to 63 lower-case letters, digits, hyphens, dots and underscores"
    [[ $OUTPUT == "gs://$BUCKET" || $OUTPUT == "gs://$BUCKET/"* ]] ||
        die "OUTPUT is '$OUTPUT'; allowed: gs://$BUCKET or a prefix in it, or name its bucket in BUCKET."
}

check_songs() {
    [[ -z $SOURCE ]] || check_source
    [[ $SONG_URL || $SONG_FUNCTION || $SOURCE ]] ||
        die "SONG_URL is not set; allowed: a URL template such as https://api.deezer.com/track/{song_num}" \
            "(or SOURCE, an API by name; or SONG_FUNCTION, your own single-request function)."
    [[ -z $SONG_URL || -z $SONG_FUNCTION ]] || die "SONG_URL and SONG_FUNCTION are both set; allowed: one of them."
    [[ -z $SONG_METHOD ]] || matches SONG_METHOD 'GET|POST' "GET or POST"
    [[ -z $SONG_URL || $SONG_METHOD == POST ]] || matches SONG_URL 'https?://[^]/?#@{}[:space:]]+[/?][^[:space:]]*[{](song_num(:0[1-9]|:01[0-2])?|song_key(:path)?)[}][^[:space:]]*' \
        "an http or https URL with {song_num} after the host, such as https://api.deezer.com/track/{song_num}"
    [[ -z $SOURCE_NAME ]] || matches SOURCE_NAME '[a-z0-9][a-z0-9._-]{0,62}' \
        "1 to 63 of a-z, 0-9, dot, dash and underscore, the first a letter or digit"
    [[ -z $KEYS ]] || matches KEYS 'gs://[a-z0-9][a-z0-9._-]{1,220}/.+' \
        "gs://bucket/object, which the function can read wherever it runs (gcloud storage cp puts a file there)"
    [[ -z $SONG_FUNCTION ]] || check_song_function
    [[ -z $FORMAT ]] || matches FORMAT 'jsonl|csv|parquet' "jsonl, csv or parquet"
    [[ -z $ROBOTS ]] || matches ROBOTS 'obey|ignore' "obey or ignore"
    [[ -z $REDIRECTS ]] || matches REDIRECTS 'fail|missing|follow' "fail, missing or follow"
    [[ -z $MAX_PER_SECOND ]] || matches MAX_PER_SECOND '[0-9]{1,7}([.][0-9]{1,9})?' "0, or a number of requests a second"
    [[ -z $MAX_AT_ONCE ]] || whole_number MAX_AT_ONCE 1 1000 "a whole number from 1 to 1000"
    check_secrets
}

check_secrets() {
    local pair name setting seen=""
    for pair in $SECRETS; do
        name=${pair%:*} setting=${pair#*:}
        [[ -z ${!setting} || ${!name} ]] ||
            die "$setting is set, and $name is not; allowed: both, since it holds keys and a function's settings can be" \
                "read by many: $name names the secret that will hold it."
        [[ ${!name} ]] || continue
        matches "$name" '[A-Za-z0-9_-]{1,255}' "the name of a secret: letters, digits, hyphens and underscores"
        ! is_listed "${!name}" "$seen" || die "$name is '${!name}', as another is; allowed: a secret for each."
        seen="$seen ${!name}"
    done
    [[ $TOKEN_URL || $SOURCE || -z $TOKEN_SECRET$TOKEN_HEADERS_SECRET ]] ||
        die "TOKEN_URL is not set, and a secret for it is; allowed: the https URL where access tokens are asked for."
    [[ -z $TOKEN_URL || $ALLOW_PRIVATE_UPSTREAM == 1 ]] ||
        matches TOKEN_URL 'https://[^]/?#@{}[:space:]]+([/?][^#[:space:]]*)?' \
            "an https URL, such as https://accounts.example.com/api/token"
}

check_source() {
    if [[ $SOURCE =~ ^[a-z0-9-]+$ ]]; then
        [[ -f crawler/sources/$SOURCE.toml ]] ||
            die "SOURCE is '$SOURCE'; allowed: a TOML file, or a name that songcrawl sources lists, such as deezer-tracks."
        return
    fi
    matches SOURCE '[A-Za-z0-9_][A-Za-z0-9_./-]*' "a TOML file below this script's folder, such as api.toml"
    [[ -f $SOURCE ]] || die "SOURCE is '$SOURCE', and there is no such file beside this script."
    [[ $SOURCE == crawler/* ]] || grep -qxF "!/$SOURCE" .gcloudignore ||
        die "SOURCE is '$SOURCE', which would not be uploaded; add a line to .gcloudignore: !/$SOURCE"
}

check_song_function() {
    matches SONG_FUNCTION '[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*' \
        "module:function, such as songs:request_song_info"
    local module=${SONG_FUNCTION%%:*} file
    file="${module//./\/}.py"
    [[ -f $file ]] || die "SONG_FUNCTION is '$SONG_FUNCTION', and there is no $file beside this script."
    [[ $file == crawler/* ]] || grep -qxF "!/$file" .gcloudignore ||
        die "SONG_FUNCTION is '$SONG_FUNCTION', and $file would not be uploaded; add a line to .gcloudignore: !/$file"
}

check_times() {
    seconds TIMEOUT 10 3600 "10s to 3600s, the longest that a function may take"
    if [[ -z $DEADLINE_SECONDS ]]; then
        DEADLINE_SECONDS=$(less_a_reserve "$TIMEOUT")
    fi
    whole_number DEADLINE_SECONDS 1 "$((TIMEOUT - 2))" \
        "a whole number of seconds from 1 to $((TIMEOUT - 2)): past TIMEOUT (${TIMEOUT}s) nobody gets the answer"
}

# https://cloud.google.com/run/docs/configuring/services/cpu and /memory-limits
check_instance() {
    local mebibytes least=128 most
    matches MEMORY '[1-9][0-9]{0,4}(Mi|Gi)' "mebibytes or gibibytes, such as 512Mi or 2Gi"
    matches CPU '0?[.][0-9]{1,3}|1([.]0)?|2|4|6|8' "1, 2, 4, 6, 8, or less than 1, such as 0.5"
    case $MEMORY in
    *Gi) mebibytes=$((${MEMORY%Gi} * 1024)) ;;
    *) mebibytes=${MEMORY%Mi} ;;
    esac
    case $CPU in
    1 | 1.0) most=4096 ;;
    2) most=8192 ;;
    4) least=2048 most=16384 ;;
    6) least=4096 most=24576 ;;
    8) least=4096 most=32768 ;;
    *[.]0 | *[.]00 | *[.]0[0-7]*) die "CPU is $CPU; allowed: 0.08 at least." ;;
    *[.][0-4]*) most=512 ;;
    *) most=1024 ;;
    esac
    ((mebibytes >= least && mebibytes <= most)) ||
        die "MEMORY is $MEMORY with CPU=$CPU; allowed with so many: ${least}Mi to ${most}Mi."
    CONCURRENCY=${CONCURRENCY:-$(default_concurrency)}
    whole_number CONCURRENCY 1 1000 "a whole number from 1 to 1000"
    [[ $CPU != *.* || $CPU == 1.0 || $CONCURRENCY == 1 ]] ||
        die "CONCURRENCY is $CONCURRENCY with CPU=$CPU; allowed with less than one CPU: 1."
}

# One call that crawls takes minutes, and those who watch or stop it must get through: MAX_PER_SECOND and MAX_AT_ONCE
# hold over all calls of an instance, whatever their number. Tasks of a queue are to go to instances of their own.
default_concurrency() {
    if [[ $FAN_OUT == 1 || ($CPU == *.* && $CPU != 1.0) ]]; then echo 1; else echo 8; fi
}

check_fan_out() {
    matches FAN_OUT '[01]' "0 or 1"
    if [[ -z $TASKS_AT_ONCE ]]; then
        local rate=${MAX_PER_SECOND%%.*}
        [[ $MAX_PER_SECOND =~ ^0+([.]0+)?$ ]] && rate=200 # no ceiling, so nothing to share
        TASKS_AT_ONCE=$((10#${rate:-100} / 20))
        TASKS_AT_ONCE=$((TASKS_AT_ONCE < 1 ? 1 : TASKS_AT_ONCE > 100 ? 100 : TASKS_AT_ONCE))
    fi
    whole_number TASKS_AT_ONCE 1 1000 "a whole number from 1 to 1000"
    whole_number TASKS_PER_SECOND 1 500 "a whole number from 1 to 500, the most that a queue delivers in a second"
}

check_schedule() {
    ATTEMPT_DEADLINE=${ATTEMPT_DEADLINE:-$((TIMEOUT < 1800 ? TIMEOUT : 1800))}
    [[ -z $SCHEDULE ]] || check_cron SCHEDULE
    [[ -z $SNAPSHOT_SCHEDULE ]] || check_cron SNAPSHOT_SCHEDULE
    matches TIME_ZONE '[A-Za-z_]+(/[A-Za-z0-9_+-]+)*' "the name of a time zone, such as UTC or Europe/Berlin"
    matches SCHEDULE_SONGS '[0-9]+(-[0-9]*)?(,[0-9]+(-[0-9]*)?)*|next:[1-9][0-9]*|(failed|missing):[a-z0-9][a-z0-9._-]*' \
        "songs as in a call, such as next:5000, 1- or 1-1000,2000"
    seconds ATTEMPT_DEADLINE 15 1800 "15s to 1800s (30 minutes), the longest that Cloud Scheduler waits"
    JOB_DEADLINE_SECONDS=$(less_a_reserve "$ATTEMPT_DEADLINE")
    JOB_DEADLINE_SECONDS=$((JOB_DEADLINE_SECONDS < DEADLINE_SECONDS ? JOB_DEADLINE_SECONDS : DEADLINE_SECONDS))
}

check_cron() {
    local allowed='five fields of cron: minute, hour, day of month, month, day of week, such as "0 3 * * *"'
    local fields most=(59 23 31 12 7) place number cron=${!1}
    [[ $cron != *$'\n'* ]] || die "$1 has several lines; allowed: $allowed."
    read -r -a fields <<<"$cron"
    ((${#fields[@]} == 5)) || die "$1 is '$cron'; allowed: $allowed."
    for place in 0 1 2 3 4; do
        [[ ${fields[place]} =~ ^[0-9A-Za-z*,/-]+$ ]] || die "$1 is '$cron'; allowed: $allowed."
        for number in ${fields[place]//[!0-9]/ }; do
            ((${#number} < 3 && 10#$number <= most[place])) ||
                die "$1 is '$cron', with $number in field $((place + 1)); allowed there: ${most[place]} at most."
        done
    done
}

name_things() {
    RUNTIME=$FUNCTION-runtime@$(domain)
    CALLER=$FUNCTION-invoker@$(domain)
    BUILDER=$FUNCTION-builder@$(domain)
    SWEEP=$FUNCTION-sweep
    SNAPSHOT=$FUNCTION-snapshot
    QUEUE_NAME=projects/$PROJECT/locations/$REGION/queues/$FUNCTION
    # Tasks on instances of their own, and room for those that ask how the run stands.
    INSTANCES=$((FAN_OUT ? TASKS_AT_ONCE + 3 : 1))
}

domain() { # example.com:project has its accounts at project.example.com.iam.gserviceaccount.com
    case $PROJECT in
    *:*) echo "${PROJECT##*:}.${PROJECT%%:*}.iam.gserviceaccount.com" ;;
    *) echo "$PROJECT.iam.gserviceaccount.com" ;;
    esac
}

# --------------------------------------------------------------------------------------------- what is made, one each

services() {
    local names=(cloudfunctions run cloudbuild artifactregistry storage iam logging)
    [[ -z $SCHEDULE$SNAPSHOT_SCHEDULE && $FAN_OUT == 0 ]] || names+=(cloudscheduler)
    [[ $FAN_OUT == 0 ]] || names+=(cloudtasks)
    [[ -z $HEADERS_SECRET$TOKEN_SECRET$TOKEN_HEADERS_SECRET ]] || names+=(secretmanager)
    run services enable "${names[@]/%/.googleapis.com}"
}

account() { # account EMAIL WHAT-FOR
    there iam service-accounts describe "$1" ||
        run iam service-accounts create "${1%%@*}" "--display-name=$2"
}

# Builds run as the default compute account otherwise, which in new projects may do nothing and in old ones everything.
# https://cloud.google.com/functions/docs/securing/build-custom-sa
builder() {
    account "$BUILDER" "Builds $FUNCTION"
    local role
    for role in $BUILDER_ROLES; do
        grant projects add-iam-policy-binding "$PROJECT" "--member=serviceAccount:$BUILDER" "--role=$role" \
            --condition=None
    done
}
BUILDER_ROLES="roles/logging.logWriter roles/artifactregistry.writer roles/storage.objectViewer"

# No lifecycle rule: nothing may ever delete a run but its owner.
bucket() {
    local what=(--uniform-bucket-level-access --public-access-prevention)
    if there storage buckets describe "gs://$BUCKET"; then
        run storage buckets update "gs://$BUCKET" "${what[@]}"
    else
        run storage buckets create "gs://$BUCKET" "--location=$REGION" "${what[@]}" ||
            die "The bucket $BUCKET can't be created, gcloud says why. Bucket names are shared by the whole world: if this" \
                "one is taken, name another in BUCKET."
    fi
}

# objectUser would be one role, and could overwrite and delete. Together these two create, read and list, no more; a role
# of our own could leave out nothing else, and only those who may edit a project's roles could deploy it.
runtime() {
    account "$RUNTIME" "Runs $FUNCTION"
    local role
    for role in $BUCKET_ROLES; do
        grant storage buckets add-iam-policy-binding "gs://$BUCKET" "--member=serviceAccount:$RUNTIME" "--role=$role"
    done
    local keys_bucket=${KEYS#gs://}
    [[ -z $KEYS || ${keys_bucket%%/*} == "$BUCKET" ]] ||
        grant storage buckets add-iam-policy-binding "gs://${keys_bucket%%/*}" "--member=serviceAccount:$RUNTIME" \
            --role=roles/storage.objectViewer
}
BUCKET_ROLES="roles/storage.objectCreator roles/storage.objectViewer"

secrets() {
    local pair name
    for pair in $SECRETS; do
        name=${pair%:*}
        [[ -z ${!name} ]] || secret "${!name}" "${pair#*:}"
    done
}

secret() { # secret NAME SETTING
    if there secrets describe "$1"; then
        renew_secret "$1" "${!2}"
    elif [[ ${!2} ]]; then
        printf '%s' "${!2}" | # from its standard input, where no list of processes shows it
            run secrets create "$1" --replication-policy=automatic "--labels=made-by=$FUNCTION" --data-file=-
    elif [[ -z $DRY_RUN ]]; then
        die "There is no secret $1 in $PROJECT; set $2 once, from which it is made, or type:" \
            "printf '{\"NAME\": \"...\"}' | gcloud secrets create $1 --data-file=-"
    fi
    grant secrets add-iam-policy-binding "$1" "--member=serviceAccount:$RUNTIME" \
        --role=roles/secretmanager.secretAccessor
}

renew_secret() { # renew_secret NAME VALUE: only what differs becomes a version, or each deployment would leave one
    [[ $2 ]] || return 0
    [[ $(gcloud secrets versions access latest "--secret=$1" 2>/dev/null) == "$2" ]] ||
        printf '%s' "$2" | run secrets versions add "$1" --data-file=-
}

# Attempts without end: the queue holds the tasks while an upstream is down.
queue() {
    ((FAN_OUT)) || return 0
    local what=("--max-concurrent-dispatches=$TASKS_AT_ONCE" "--max-dispatches-per-second=$TASKS_PER_SECOND"
        --max-attempts=unlimited --min-backoff=10s --max-backoff=600s --max-doublings=6)
    if there tasks queues describe "$FUNCTION" "--location=$REGION"; then
        run tasks queues update "$FUNCTION" "--location=$REGION" "${what[@]}"
    else
        run tasks queues create "$FUNCTION" "--location=$REGION" "${what[@]}" ||
            die "The queue $FUNCTION can't be created, gcloud says why. The name of a deleted queue is free again after some" \
                "days only: until then, name everything otherwise in FUNCTION."
    fi
    local role
    for role in $QUEUE_ROLES; do # the second reads how many tasks the queue delivers at once
        grant tasks queues add-iam-policy-binding "$FUNCTION" "--location=$REGION" \
            "--member=serviceAccount:$RUNTIME" "--role=$role"
    done
    # Whoever creates a task that calls as the invoker must be allowed to act as it.
    grant iam service-accounts add-iam-policy-binding "$CALLER" "--member=serviceAccount:$RUNTIME" \
        --role=roles/iam.serviceAccountUser
}
QUEUE_ROLES="roles/cloudtasks.enqueuer roles/cloudtasks.viewer"

settings_of_the_function() { # NAME=value of all, between marks that stand in no value
    local name mark="<;>" all=""
    # With one thread the web server would kill a call at its timeout instead of letting it answer.
    # shellcheck disable=SC2034 # these are read by their names
    local THREADS=$((CONCURRENCY > 1 ? CONCURRENCY : 2)) QUEUE="" SERVICE_URL="" INVOKER=""
    # shellcheck disable=SC2034
    if ((FAN_OUT)); then
        QUEUE=$QUEUE_NAME SERVICE_URL=$1 INVOKER=$CALLER
    fi
    for name in $CRAWL_SETTINGS THREADS QUEUE SERVICE_URL INVOKER; do
        while [[ ${!name} == *"$mark"* ]]; do mark="<;${mark#<}"; done
    done
    for name in $CRAWL_SETTINGS THREADS QUEUE SERVICE_URL INVOKER; do
        [[ -z ${!name} ]] || all="$all${all:+$mark}$name=${!name}"
    done
    printf '^%s^%s' "$mark" "$all"
}

# The queue calls back at an address that the function must know before it is there.
# https://cloud.google.com/run/docs/triggering/https-request#deterministic
url_to_be() {
    local number=PROJECT_NUMBER
    if [[ -z $DRY_RUN ]]; then
        number=$(gcloud projects describe "$PROJECT" --format='value(projectNumber)') || exit
    fi
    echo "https://$FUNCTION-$number.$REGION.run.app"
}

crawl_function() {
    local secret=(--clear-secrets) url="" pair name all=""
    for pair in $SECRETS; do
        name=${pair%:*}
        [[ -z ${!name} ]] || all="$all${all:+,}${pair#*:}=${!name}:latest"
    done
    [[ -z $all ]] || secret=("--set-secrets=$all")
    if ((FAN_OUT)); then
        url=$(url_to_be)
    fi
    run functions deploy "$FUNCTION" --gen2 "--region=$REGION" --runtime=python313 --source=. --entry-point=crawl \
        --trigger-http --no-allow-unauthenticated "--service-account=$RUNTIME" \
        "--build-service-account=projects/$PROJECT/serviceAccounts/$BUILDER" \
        "--memory=$MEMORY" "--cpu=$CPU" "--concurrency=$CONCURRENCY" --min-instances=0 "--max-instances=$INSTANCES" \
        "--timeout=${TIMEOUT}s" "${secret[@]}" "--set-env-vars=$(settings_of_the_function "$url")"
    URL=https://FUNCTION_URL
    if [[ -z $DRY_RUN ]]; then
        URL=$(gcloud functions describe "$FUNCTION" "--region=$REGION" --format='value(serviceConfig.uri)')
        [[ $URL ]] || die "$FUNCTION is deployed, but gcloud does not say where it answers."
    fi
}

invoker() {
    account "$CALLER" "Calls $FUNCTION"
}

may_call() {
    grant functions add-invoker-policy-binding "$FUNCTION" "--region=$REGION" "--member=serviceAccount:$CALLER"
}

job() { # job NAME CRON TIME-ZONE DEADLINE-SECONDS PATH BODY
    local verb=create headers=--headers
    if there scheduler jobs describe "$1" "--location=$REGION"; then
        verb=update headers=--update-headers
    fi
    run scheduler jobs "$verb" http "$1" "--location=$REGION" "--schedule=$2" "--time-zone=$3" "--attempt-deadline=${4}s" \
        "--uri=$URL$5" --http-method=post "$headers=Content-Type=application/json" "--message-body=$6" \
        "--oidc-service-account-email=$CALLER" "--oidc-token-audience=$URL" \
        --max-retry-attempts=5 --min-backoff=30s --max-backoff=600s --max-doublings=5
}

no_job() { # a setting that was taken back takes its job back
    [[ $DRY_RUN ]] || ! there scheduler jobs describe "$1" "--location=$REGION" ||
        run scheduler jobs delete "$1" "--location=$REGION"
}

jobs_on_schedule() {
    if [[ $SCHEDULE ]]; then
        job "$FUNCTION" "$SCHEDULE" "$TIME_ZONE" "$ATTEMPT_DEADLINE" / \
            "{\"songs\": \"$SCHEDULE_SONGS\", \"deadline_seconds\": $JOB_DEADLINE_SECONDS}"
    else
        no_job "$FUNCTION"
    fi
    if ((FAN_OUT)); then
        job "$SWEEP" "*/10 * * * *" UTC 600 /sweep "{}"
    else
        no_job "$SWEEP"
    fi
    if [[ $SNAPSHOT_SCHEDULE ]]; then
        job "$SNAPSHOT" "$SNAPSHOT_SCHEDULE" "$TIME_ZONE" "$ATTEMPT_DEADLINE" /snapshots \
            "{$(snapshot_source)\"deadline_seconds\": $JOB_DEADLINE_SECONDS}"
    else
        no_job "$SNAPSHOT"
    fi
}

snapshot_source() { # whose runs: the bucket may hold those of another source too
    local name=$SOURCE_NAME
    [[ $name || ! $SOURCE =~ ^[a-z0-9][a-z0-9-]*$ ]] || name=$SOURCE
    [[ ! $name ]] || printf '"source": "%s", ' "$name"
}

farewell() {
    cat <<END

Deployed. To crawl a hundred songs now (the answer says where they lie):
  curl -H "Authorization: Bearer \$(gcloud auth print-identity-token)" -d '{"songs": "1-100"}' $URL
To open its page, at http://localhost:8080:
  gcloud run services proxy $FUNCTION --project=$PROJECT --region=$REGION --port=8080
END
    [[ $USER_AGENT ]] || echo "Set USER_AGENT to your name and a contact: whoever runs the API may want to write to you."
}

# ------------------------------------------------------------------------------------------------------------- delete

ask() {
    local answer=""
    cat >&2 <<END
This deletes of $PROJECT: the function $FUNCTION, its jobs, its queue and its service accounts.
The bucket $BUCKET stays, with all runs. The name of a deleted queue is free again only after some days.
END
    printf 'Type the name of the function to go on: ' >&2
    read -r answer || true
    [[ $answer == "$FUNCTION" ]] || die "Nothing was deleted."
}

delete_if_there() { # delete_if_there KIND... -- NAME...: `gcloud KIND... delete NAME...` of what `describe` finds
    local kind=()
    while [[ $1 != -- ]]; do
        kind+=("$1")
        shift
    done
    shift
    ! there "${kind[@]}" describe "$@" || run "${kind[@]}" delete "$@" --quiet
}

revoke() { # revoke COMMAND... : undo a binding that may not be there
    if [[ $DRY_RUN ]]; then
        quoted gcloud "$@"
    else
        gcloud "$@" >/dev/null 2>&1 || true
    fi
}

delete_roles() { # or deleted accounts would stand in the policies of what stays
    local role
    for role in $BUCKET_ROLES; do
        revoke storage buckets remove-iam-policy-binding "gs://$BUCKET" "--member=serviceAccount:$RUNTIME" "--role=$role"
    done
    for role in $BUILDER_ROLES; do
        revoke projects remove-iam-policy-binding "$PROJECT" "--member=serviceAccount:$BUILDER" "--role=$role" \
            --condition=None
    done
}

delete_secrets() {
    local pair name
    for pair in $SECRETS; do
        name=${pair%:*}
        [[ -z ${!name} ]] || delete_secret "${!name}"
    done
}

delete_secret() { # one that was here before, or serves others too, stays
    local maker=$FUNCTION
    if [[ -z $DRY_RUN ]]; then
        maker=$(gcloud secrets describe "$1" --format='value(labels.made-by)' 2>/dev/null) || return 0
    fi
    if [[ $maker == "$FUNCTION" ]]; then
        run secrets delete "$1" --quiet
    else
        revoke secrets remove-iam-policy-binding "$1" "--member=serviceAccount:$RUNTIME" \
            --role=roles/secretmanager.secretAccessor
    fi
}

delete() {
    [[ $DRY_RUN ]] || ask
    delete_if_there scheduler jobs -- "$FUNCTION" "--location=$REGION"
    delete_if_there scheduler jobs -- "$SWEEP" "--location=$REGION"
    delete_if_there scheduler jobs -- "$SNAPSHOT" "--location=$REGION"
    delete_if_there tasks queues -- "$FUNCTION" "--location=$REGION"
    delete_if_there functions -- "$FUNCTION" "--region=$REGION"
    delete_secrets
    delete_roles
    local email
    for email in "$RUNTIME" "$CALLER" "$BUILDER"; do
        delete_if_there iam service-accounts -- "$email"
    done
    [[ $DRY_RUN ]] || echo "Deleted. The runs are still in gs://$BUCKET."
}

# --------------------------------------------------------------------------------------------------------------- main

deploy() {
    services
    invoker
    bucket
    runtime
    secrets
    queue
    builder
    crawl_function
    may_call
    jobs_on_schedule
    [[ $DRY_RUN ]] || farewell
}

main() {
    DRY_RUN="" DELETE=""
    local option
    for option in "$@"; do
        case $option in
        --help | -h) help && exit ;;
        --dry-run) DRY_RUN=1 ;;
        --delete) DELETE=1 ;;
        *) die "There is no option '$option'; allowed: --dry-run, --delete, --help." ;;
        esac
    done
    read_env_file
    set_defaults
    check_settings
    name_things
    [[ $DRY_RUN ]] || command -v gcloud >/dev/null ||
        die "There is no gcloud here; https://cloud.google.com/sdk/docs/install says how it comes, or use Cloud Shell."
    if [[ $DRY_RUN ]]; then
        quoted export "CLOUDSDK_CORE_PROJECT=$PROJECT" CLOUDSDK_CORE_DISABLE_PROMPTS=1
    fi
    export CLOUDSDK_CORE_PROJECT=$PROJECT CLOUDSDK_CORE_DISABLE_PROMPTS=1
    if [[ $DELETE ]]; then delete; else deploy; fi
}

main "$@"
