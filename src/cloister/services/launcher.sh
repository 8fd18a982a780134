# Starts services one after another, each once the one before it is ready; runs a program; ends the services after it.
#
# /cloister/in/services.args holds our arguments, each ended by a NUL, so that no `pkill -f` meets us by them:
#
#   LOG_KIB [NAME READY CENTISECONDS]... -- PROGRAM [ARGUMENT]...
#
# /cloister/in/service.NAME is what a service runs. READY is `at-once`, `tcp:PORT`, or `command` for the script
# /cloister/in/ready.NAME, tried until it succeeds. What a service prints goes to a file of its own.
#
# Standard output is ours until the line `run`, and then the program's: what is said before it, no program can say later.
# Status, streams and signals are the program's. Nothing but bash, cat, chmod, mkdir and rm is needed.
# Exported variables are the program's too, so that names of our own must never be one of them: all have a prefix.

_cloister_tools=/usr/bin:/bin
_cloister_place=/cloister/out/services
# Elsewhere, what ends everything would be a disaster.
mapfile -d '' _cloister_arguments </cloister/in/services.args || exit 1
set -- "${_cloister_arguments[@]}"
_cloister_log_kib=$1
shift
export -n PWD OLDPWD SHLVL

exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>&1
exec 6<> <(:) # a pipe with both its ends: what happens is written to it, and read with a time limit

declare -A _cloister_ended=() _cloister_closed=()
_cloister_started=0
_cloister_tries=0

_cloister_clock() { # set the time, in hundredths of a second; that of the wall may jump
  read -r _cloister_now _ </proc/uptime
  _cloister_now=$((10#${_cloister_now/./}))
}

_cloister_hear() { # DEADLINE: take in one event; fail when none came before it
  local _cloister_left _cloister_kind _cloister_who _cloister_what
  _cloister_clock
  _cloister_left=$(($1 - _cloister_now))
  ((_cloister_left > 0)) || return 1
  printf -v _cloister_left '%d.%02d' $((_cloister_left / 100)) $((_cloister_left % 100))
  read -r -t "$_cloister_left" -u 6 _cloister_kind _cloister_who _cloister_what || return 1
  case $_cloister_kind in
    ended) _cloister_ended[$_cloister_who]=$_cloister_what ;;
    closed) _cloister_closed[$_cloister_who]=1 ;;
    tried) if [[ $_cloister_who == "$_cloister_tries" ]]; then _cloister_result=$_cloister_what; fi ;;
  esac
}

_cloister_finish() { # STATUS: end everything that runs, gently for three seconds, and then ourselves
  trap '' HUP INT QUIT TERM USR1 USR2
  kill -TERM -1 # everything in this container but its process 1 and us
  _cloister_clock
  local _cloister_until=$((_cloister_now + 300))
  while ((${#_cloister_closed[@]} < _cloister_started)); do
    _cloister_hear "$_cloister_until" || break
  done
  exit "$1"
}

_cloister_fail() { # WORD...: say why the program does not run
  printf 'failed %s\n' "$*" >&4
  _cloister_finish 1
}

_cloister_run() { # NAME: be a service, and say how it ended
  trap '_cloister_stopping=1' HUP INT TERM
  PATH=$_cloister_tools chmod a+w /proc/self/fd/1 # so that another user can open /dev/stdout
  "$BASH" -c "$(</cloister/in/service.$1)" "$1" 2>&1 6>&-
  local _cloister_status=$?
  [[ -n ${_cloister_stopping-} ]] || printf '%s %s\n' "$1" "$_cloister_status" >>"$_cloister_place/ended"
  printf 'ended %s %s\n' "$1" "$_cloister_status" >&6
}

_cloister_keep() { # NAME: write what a service prints to its log, until nobody is left who could print
  trap '' HUP INT TERM XFSZ
  # The kernel keeps the file within its limit; what comes after it is read all the same, so that the service goes on.
  if ! (ulimit -f "$_cloister_log_kib" && PATH=$_cloister_tools cat >>"$_cloister_place/$1.log" 6>&-); then
    printf '\n[the rest of what %s printed was not kept]\n' "$1" >>"$_cloister_place/$1.log"
    PATH=$_cloister_tools cat 6>&-
  fi
  printf 'closed %s\n' "$1" >&6
}

_cloister_probe() { # NAME READY NUMBER [LOG]: try once, and say how it went
  local _cloister_status
  case $2 in
    tcp:*) { :; } 7<>"/dev/tcp/127.0.0.1/${2#tcp:}" || { :; } 7<>"/dev/tcp/::1/${2#tcp:}" ;;
    *)
      if [[ -n ${4-} ]]; then ulimit -f "$_cloister_log_kib"; fi
      "$BASH" -c "$(</cloister/in/ready.$1)" "$1" 3<&- 4>&- 5>&- 6>&- >>"${4-/dev/null}" 2>&1
      ;;
  esac
  _cloister_status=$?
  printf 'tried %s %s\n' "$3" "$_cloister_status" >&6
}

_cloister_try() { # NAME READY DEADLINE [LOG]: whether it is ready; a try has five seconds
  local _cloister_until
  _cloister_clock
  _cloister_until=$((_cloister_now + 500 < $3 ? _cloister_now + 500 : $3))
  _cloister_tries=$((_cloister_tries + 1))
  _cloister_result=
  _cloister_probe "$1" "$2" "$_cloister_tries" "${@:4}" &
  while [[ -z $_cloister_result && ${_cloister_ended[$1]-0} == 0 ]]; do
    _cloister_hear "$_cloister_until" || break
  done
  [[ -n $_cloister_result ]] || kill -KILL -- "-$!"
  [[ $_cloister_result == 0 ]]
}

_cloister_await() { # NAME READY CENTISECONDS: return when it is ready
  local _cloister_began _cloister_deadline
  _cloister_clock
  _cloister_began=$_cloister_now
  _cloister_deadline=$((_cloister_now + $3))
  until _cloister_try "$1" "$2" "$_cloister_deadline"; do
    # A parent that ended well may have left a daemon: then only readiness counts.
    [[ ${_cloister_ended[$1]-0} == 0 ]] || _cloister_fail "$1" ended "${_cloister_ended[$1]}"
    _cloister_clock
    if ((_cloister_now >= _cloister_deadline)); then
      [[ $2 != command ]] || _cloister_try "$1" "$2" $((_cloister_now + 200)) "$_cloister_place/$1.log"
      _cloister_fail "$1" late "${_cloister_ended[$1]--}"
    fi
    _cloister_hear $((_cloister_now + 5)) || :
  done
  _cloister_clock
  printf 'ready %s %s\n' "$1" $((_cloister_now - _cloister_began)) >&4
}

_cloister_begin() { # NAME READY CENTISECONDS
  if [[ $2 == tcp:* ]]; then # another's answer would pass for this one's
    _cloister_clock
    ! _cloister_try "$1" "$2" $((_cloister_now + 500)) || _cloister_fail "$1" taken
  fi
  printf 'started %s\n' "$1" >&4
  _cloister_started=$((_cloister_started + 1))
  : >"$_cloister_place/$1.log"
  _cloister_run "$1" 3<&- 4>&- 5>&- | _cloister_keep "$1" 3<&- 4>&- 5>&- &
  [[ $2 == at-once ]] || _cloister_await "$1" "$2" "$3"
}

_cloister_pass() { # SIGNAL: it is meant for the program
  _cloister_signalled=1
  kill -s "$1" "$_cloister_program"
}

PATH=$_cloister_tools rm -rf "$_cloister_place"
PATH=$_cloister_tools mkdir -p "$_cloister_place"
set -m # what is started has a process group of its own
for _cloister_signal in HUP INT QUIT TERM USR1 USR2; do
  trap "_cloister_finish $((128 + $(kill -l $_cloister_signal)))" $_cloister_signal
done
while [[ $1 != -- ]]; do
  _cloister_begin "$1" "$2" "$3"
  shift 3
done
shift

printf 'run\n' >&4
(exec -- "$@") <&3 >&4 2>&5 3<&- 4>&- 5>&- 6>&- &
_cloister_program=$!
set +m # or `wait` would return when it is stopped, too
for _cloister_signal in HUP INT QUIT TERM USR1 USR2; do
  trap "_cloister_pass $_cloister_signal" $_cloister_signal
done
_cloister_signalled=1
while [[ -n $_cloister_signalled ]]; do # a signal to us ends `wait`, but not the program
  _cloister_signalled=
  wait "$_cloister_program"
  _cloister_status=$?
done
_cloister_finish "$_cloister_status"
