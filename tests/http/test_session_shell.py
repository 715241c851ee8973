"""What a shell session keeps, shows and survives, in each shell that a box may have (contract 4.4)."""

import os
import re
import shlex

import pytest

import procfs
from harness import manage
from sessions import Session, box_path

SHELLS = ("bash", "dash", "busybox")


@pytest.fixture(scope="module", params=SHELLS)
def box(request):
    """A daemon in a box with bash, or with another sh only."""
    start, finish = manage(request)
    path = None if request.param == "bash" else box_path(request.param)
    d = start(env={"PATH": str(path)} if path else {})
    d.bash = request.param == "bash"
    d.shell = request.param
    yield d
    finish()


@pytest.fixture
def s(box):
    """A session of its own, in a directory of its own."""
    session = Session(box, cwd=f"d{len(os.listdir(box.root))}")
    yield session
    session.delete()


@pytest.fixture
def bash(shared):
    session = Session(shared, cwd=f"d{len(os.listdir(shared.root))}")
    yield session
    session.delete()


# ---- what stays ----

# Kind of state: commands that make it, a command that shows it, what that says.
STAYS = {
    "an export": (["export A=1 B='two words'"], "env | grep -E '^[AB]=' | sort", ["A=1", "B=two words"]),
    "a variable": (["plain='x y'"], 'echo "$plain"; env | grep plain || echo mine', ["x y", "mine"]),
    "an unset of what was inherited": (["unset HOME"], 'echo "${HOME-none}"', ["none"]),
    "an export taken back": (["export A=1", "unset A"], 'echo "${A-none}"', ["none"]),
    "a changed export": (["export A=1", "A=2"], "sh -c 'echo $A'", ["2"]),
    "a readonly variable": (["readonly R=5"], 'echo $R; readonly -p | grep -c " R="', ["5", "1"]),
    "the directory": (["cd /usr/bin"], "pwd; echo $PWD", ["/usr/bin", "/usr/bin"]),
    "where cd - leads": (["cd /usr", "cd /tmp"], "cd - >/dev/null; pwd", ["/usr"]),
    "the umask": (["umask 027"], "umask; touch f; stat -c %a f", ["0027", "640"]),
    "set -u": (["set -u"], "case $- in *u*) echo on; esac", ["on"]),
    "set -f": (["set -f"], "echo *", ["*"]),
    "set -C": (["set -C"], "touch f; (echo x >f) 2>/dev/null || echo kept", ["kept"]),
    "set -e": (["set -e"], "case $- in *e*) echo on; esac", ["on"]),
    "IFS": (["IFS=,"], "v=a,b; set -- $v; echo $#", ["2"]),
    "PATH": (["PATH=/nowhere:$PATH"], "echo ${PATH%%:*}", ["/nowhere"]),
    "an alias": (["shopt -s expand_aliases 2>/dev/null || :; alias hi='echo \"hello  $HOME\"'"], "HOME=/h; hi", ["hello  /h"]),
    "a trap": (["trap 'echo \"caught  it\"' USR1"], "kill -USR1 $$; :", ["caught  it"]),
    "a signal that is ignored": (["trap '' USR2"], "kill -USR2 $$; sh -c 'kill -USR2 $$; echo alive'", ["alive"]),
}
# Not in a new shell: POSIX has no way to ask for it, or it is the shell itself.
STAYS_HERE = {
    "a function": (["f() { echo in f $1; }"], "f x", ["in f x"]),
    "positional parameters": (["set -- a 'b c'"], 'echo $# "$2"', ["2 b c"]),
    "the process": (["echo $$ >pid"], "test $$ -eq $(cat pid) && echo same", ["same"]),
    "a background job": (["sleep 100 & echo $! >pid"], "kill -0 $(cat pid) && echo alive; kill $!; wait; echo done", ["alive", "done"]),
    "the status of a background job": (["sh -c 'exit 5' & echo $! >pid"], "wait $(cat pid); echo $?", ["5"]),
    "an open descriptor": (["echo content >f; exec 3<f"], "cat <&3; exec 3<&-", ["content"]),
}
BASH_STAYS = {
    "a function": (["f() { echo \"in f\" '$1' $1; }; export -f f"], "f x; bash -c 'f y'", ["in f $1 x", "in f $1 y"]),
    "an array": (["a=(1 'two words' $'three\\n' [7]=x)"], 'echo "${#a[@]} ${a[1]} ${!a[*]}"; declare -p a', [
        "4 two words 0 1 2 7", 'declare -a a=([0]="1" [1]="two words" [2]=$\'three\\n\' [7]="x")']),
    "a map": (["declare -A m=([k]=v ['a b']='$x')"], 'echo "${m[k]} ${m[a b]}"', ["v $x"]),
    "an integer": (["declare -i n=5"], "n=n+2; echo $n", ["7"]),
    "a declaration without local scope": (["declare x=1; typeset y=2"], "echo $x $y", ["1 2"]),
    "a shopt": (["shopt -s nullglob extglob"], "echo none*; shopt -q extglob && echo on", ["\n", "on"]),
    "pipefail": (["set -o pipefail"], "false | true; echo $?", ["1"]),
    "a name reference": (["t=1; declare -n r=t"], "r=2; echo $t", ["2"]),
    "lower case": (["declare -l low=ABC"], "echo $low; low=XY; echo $low", ["abc", "xy"]),
    "an exported array element": (["export E=1; declare -x F"], 'env | grep ^E=; echo "${F-unset}"', ["E=1", "unset"]),
}
BASH_STAYS_HERE = {
    "the stack of directories": (["cd /; pushd /usr >/dev/null"], "popd >/dev/null; pwd", ["/"]),
    "a job by its number": (["sleep 100 &"], "kill %1; wait %1 2>/dev/null; echo $?", ["143"]),
    "a descriptor by name": (["exec {fd}<<<content"], "cat <&$fd", ["content"]),
    "a coprocess": (["coproc cat"], "echo hi >&${COPROC[1]}; read -ru ${COPROC[0]} x; echo $x; kill $COPROC_PID", ["hi"]),
}


def check_stays(session, table, name, restart=False):
    make, show, want = table[name]
    for command in make:
        session.out(command)
    if restart:
        assert session.run("exit 7").error["evalue"] == "7"
    assert session.out(show) == want


@pytest.mark.parametrize("name", [*STAYS, *STAYS_HERE])
def test_stays(s, name):
    check_stays(s, {**STAYS, **STAYS_HERE}, name)


@pytest.mark.parametrize("name", STAYS)
def test_stays_when_the_shell_is_replaced(s, name):
    check_stays(s, STAYS, name, restart=True)


@pytest.mark.parametrize("name", [*BASH_STAYS, *BASH_STAYS_HERE])
def test_bash_keeps(bash, name):
    check_stays(bash, {**BASH_STAYS, **BASH_STAYS_HERE}, name)


@pytest.mark.parametrize("name", BASH_STAYS)
def test_bash_keeps_when_it_is_replaced(bash, name):
    check_stays(bash, BASH_STAYS, name, restart=True)


def test_everything_at_once_survives_three_shells(bash):
    for make, _, _ in BASH_STAYS.values():
        for command in make:
            bash.out(command)
    for end in ("exit 7", "kill -9 $$", "exec false"):
        assert not bash.run(end).ok
        for name in ("an array", "a map", "a function", "a name reference"):
            _, show, want = BASH_STAYS[name]
            assert bash.out(show) == want, (end, name)


VALUES = {
    "dollar": "a$b", "backtick": "a`b`", "command": "$(echo x)", "quotes": "it's \"so\"", "backslash": "a\\b\\\\",
    "newline": "line1\nline2", "final newline": "x\n", "only newlines": "\n\n", "tab": "a\tb", "unicode": "ä€😀\u2028",
    "spaces": "  a  b  ", "glob": "* ? [a]", "empty": "", "control": "\x01\x1b[31m\x7f", "bang": "!! !$", "equals": "a=b=c",
    "carriage return": "a\rb\r\n", "heredoc end": "EOF\n__EOF__\n", "braces": "{a,b} ${x", "long": "0123456789" * 3000,
    "dash": "-n", "comment": "#x", "semicolon": "a; exit 9", "quote end": "'; exit 9; '",
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_survives_byte_for_byte(s, name):
    value = VALUES[name]
    want = value.encode().hex()
    show = "printf %%s \"$%s\" | od -An -v -tx1 | tr -d ' \\n'"
    s.out(f"export V={shlex.quote(value)}; W={shlex.quote(value)}")
    for turn in ("the same shell", "a new shell"):
        for var in "VW":
            assert "".join(s.out(show % var)) == want, (turn, var)
        assert "".join(s.out("sh -c " + shlex.quote(show % "V"))) == want, turn
        s.run("exit 1")


def test_bytes_that_are_no_utf8_survive(s):
    s.out("export V=$(printf '\\377\\200x\\300')")
    s.run("exit 1")
    assert s.out("printf %s \"$V\" | od -An -tx1 | tr -d ' \\n'") == ["ff8078c0"]


def test_a_value_of_a_hundred_kilobytes_survives(s):
    s.out("V=$(head -c 100000 /dev/zero | tr '\\0' v); export V")
    s.run("exit 1")
    assert s.out("echo ${#V}; env | wc -c | grep -cE '^1.....$'") == ["100000", "1"]


def test_much_output_and_then_an_export(s):
    assert s.out("seq 1 200; export AFTER=yes; cd /") == [str(i) for i in range(1, 201)]
    assert s.out("echo $AFTER $PWD") == ["yes /"]


def test_what_a_failed_command_changed_stays(s):
    run = s.run("export Y=2; cd /usr; false")
    assert run.error == {"ename": "CommandExecError", "evalue": "1", "traceback": ["exit status 1"]}
    assert s.out("echo $Y $PWD") == ["2 /usr"]


def test_what_came_before_an_exit_in_the_same_run_is_gone_and_the_rest_is_not(s):
    s.out("A=1; cd /usr")
    assert s.run("A=2; cd /tmp; exit 7").error["evalue"] == "7"
    assert s.out("echo $A $PWD") == ["1 /usr"]


# ---- how a run ends ----

ENDS = {
    "true": 0, "false": 1, "exit": 0, "exit 0": 0, "exit 7": 7, "exit 255": 255, "sh -c 'exit 7'": 7, "(exit 3)": 3,
    "exec true": 0, "exec sh -c 'exit 3'": 3, "sh -c 'kill -9 $$'": 137, "no-such-program-here": 127, "/": 126,
    "false; true": 0, "true; false": 1, "false && true": 1, "! true": 1, "exit 7 &": 0, "set -e; false; exit 9": 1,
    "f() { return 4; }; f": 4, "case x in y) false; esac": 0, "kill -9 $$": -1, "kill -TERM $$; sleep 5": -1,
    "exec no-such-program-here": 127, "trap 'exit 6' EXIT; exit 2": 6, "false; exit": 1, "test 1 = 2": 1, "(kill -9 $$); sleep 9": -1,
}


@pytest.mark.parametrize("command", ENDS)
def test_ends_with(s, command):
    s.out("cd /usr; keep=1")
    run = s.run(command)
    assert run.exit_code == ENDS[command], run.events[-1]
    assert run.ok == (ENDS[command] == 0) and run.stdout == []
    if ENDS[command] > 0:
        assert run.error["traceback"] == [f"exit status {ENDS[command]}"]
    assert s.out("echo $keep $PWD") == ["1 /usr"], "the state of before"


def test_a_killed_shell_names_its_signal(s):
    assert s.run("kill -9 $$").error["traceback"] == ["signal: killed"]
    assert s.run("kill -SEGV $$").error["traceback"][0].startswith("signal: segmentation fault")


def test_an_unknown_program_is_named_on_stderr(s):
    run = s.run("no-such-program-here")
    assert "no-such-program-here" in run.stderr[0] and run.stdout == []


def test_the_status_of_the_last_command_can_be_asked_for_inside_a_run(s):
    assert s.out("false; echo EXIT:$?") == ["EXIT:1"]


def test_a_program_in_the_place_of_the_shell(s):
    s.out("A=1")
    run = s.run("exec sh -c 'echo x; echo y >&2; exit 3'")
    assert (run.stdout, run.stderr, run.error["evalue"]) == (["x"], ["y"], "3")
    assert s.out("echo $A") == ["1"]
    assert s.run("exec seq 1 3").stdout == ["1", "2", "3"]
    assert s.out("echo $A") == ["1"]


def test_stderr_and_a_status_of_a_child(s):
    run = s.run("sh -c 'echo x >&2; exit 7'")
    assert (run.stdout, run.stderr, run.error["evalue"], run.ok) == ([], ["x"], "7", False)


SYNTAX = ["if true; then", "fi", "done", "}", ")", "(", "{", "a() {", "echo 'open", 'echo "open', "echo `open", "echo $(open", "case x in",
          "; ;", "&& true", "true &&", "| cat", "cat |", "echo )", "}; echo out; {", "); echo out; (", "fi; echo out; if true; then :",
          "done; echo out; while :; do :", "esac", "'; echo out; '", "\"; echo out; \"", "for", "while", "${", "$((1+"]


@pytest.mark.parametrize("command", SYNTAX)
def test_a_syntax_error_is_an_error_and_nothing_more(s, command):
    s.out("A=1; cd /usr")
    run = s.run(command, timeout=5000)
    assert run.exit_code not in (0, None, -1), run.events
    assert "out" not in run.stdout
    assert run.stderr, "the shell says what is wrong"
    assert not re.search(r"boxd|driver", "".join(run.stderr)), run.stderr
    assert s.out("echo $A $PWD") == ["1 /usr"]


# Commands that try to leave or break what feeds them, and what they print.
AWKWARD = {
    "break": [], "continue": [], "break 99": [], "shift 9": [], "return 3": [], "return": [], "while :; do break 9; done; echo on": ["on"],
    "PATH=/nowhere; echo on": ["on"], "unset PATH; echo on": ["on"], "IFS=e; echo on": ["on"], "IFS=; echo on": ["on"],
    "IFS=0123456789; echo on": ["on"], "set -f; echo on": ["on"], "set -u; echo on": ["on"], "set -C; echo on": ["on"],
    "set -ue; echo on": ["on"], "umask 777; echo on": ["on"], "cd /proc/self; echo on": ["on"], "LC_ALL=C; echo on": ["on"],
    "export LC_ALL=tr_TR.UTF-8 LANG=xx; echo on": ["on"], "trap '' HUP INT QUIT USR1 USR2 PIPE ALRM CHLD; echo on": ["on"],
    "trap 'echo trapped' INT USR1 USR2; echo on": ["on"], "ulimit -n 20; echo on": ["on"], "exec 3>&1 4>&2 5</dev/null; echo on": ["on"],
    "exec 7>f 8>f 9>f; echo on": ["on"], "alias echo='printf alias'; command echo on": ["on"],
    "printf() { command printf hijack; }; read() { :; }; test() { :; }; echo on": ["on"], "echo on\\": ["on\\"], "echo on #": ["on"],
    "echo on\n#": ["on"], "echo on\n\n": ["on"], "\n\necho on": ["on"], "echo on;": ["on"], "cat <<'EOF'\non\nEOF": ["on"],
    "cat <<EOF\non\nEOF\n": ["on"], "PS4='$(echo evil >&2)'; echo on": ["on"], "PS1=x PS2=y; echo on": ["on"],
    "_=x; OPTIND=5; echo on": ["on"], "set -- -a -b; echo on": ["on"], "exec </dev/null; echo on": ["on"], "wait; echo on": ["on"],
    "echo on & wait": ["on"], "{ echo on; } 2>&1": ["on"], "set -o allexport; echo on": ["on"], "export A=1; echo on; readonly A": ["on"],
}


@pytest.mark.parametrize("command", AWKWARD)
def test_goes_on_after(s, command):
    run = s.run(command, timeout=5000)
    assert run.stdout == AWKWARD[command] and run.exit_code is not None
    for turn in ("the same shell", "a new shell"):
        run = s.run("command echo next; command true", timeout=5000)
        assert (run.stdout, run.stderr, run.ok) == (["next"], [], True), (turn, run.events)
        s.run("exit 1", timeout=5000)


BASH_AWKWARD = {
    "eval() { echo hijack; }": [], "command() { echo hijack; }": [],
    "printf() { echo hijack; }; echo() { builtin printf 'mine %s\\n' \"$@\"; }; echo on": ["mine on"],
    "declare() { :; }; set() { :; }; trap() { :; }; exec() { :; }; source() { :; }; shopt() { :; }": [],
    "shopt -s extdebug": [], "set -o posix": [], "set -o vi": [], "set -h; set +B; set -H": [],
    "trap 'echo D >&2' DEBUG; trap - DEBUG": [], "shopt -s expand_aliases; alias eval=false printf=false trap=false": [],
    "shopt -s nocasematch nullglob failglob": [], "BASH_ENV=/nowhere; ENV=/nowhere; export BASH_ENV ENV": [], "set -m": [],
    "set -m; sleep 0.01 & wait": [], "declare -r IFS": [], "declare -i x; x=1+1; builtin echo $x": ["2"], "readonly -f 2>/dev/null": [],
    "local x": [], "coproc sleep 100; kill $COPROC_PID": [], "exec 10>&1 11>&1 12>&1": [], "shopt -s lastpipe; builtin echo a | read x; builtin echo $x": ["a"],
    "BASHPID=1; RANDOM=5; SECONDS=3; LINENO=7": [], "unset BASH_VERSION BASH_VERSINFO BASH": [], "set -T; set -E": [], "trap 'builtin echo bye' EXIT; trap - EXIT": [],
    "TIMEFORMAT=; time true": [], "set -k": [], "set -p": [], "export BASHOPTS SHELLOPTS": [], "complete -F x y": [], "hash -r; hash -p /bin/false echo": [],
    "PROMPT_COMMAND='echo evil'": [], "history -c; set -o history": [], "ulimit -f 0": [], "declare -n __n=__m": [],
}


@pytest.mark.parametrize("command", BASH_AWKWARD)
def test_bash_goes_on_after(bash, command):
    run = bash.run(command, timeout=5000)
    assert run.stdout == BASH_AWKWARD[command] and run.exit_code is not None
    for turn in ("the same shell", "a new shell"):
        run = bash.run("\\builtin builtin echo next", timeout=5000)
        assert (run.stdout, run.ok) == (["next"], True), (turn, run.events)
        bash.run("\\builtin exit 1", timeout=5000)


@pytest.mark.parametrize("command", ["builtin() { :; }", "enable -n builtin", "enable -n printf eval"])
def test_a_shell_without_its_builtins_is_lost_and_the_session_is_not(bash, command):
    bash.out("A=1")
    bash.run(command, timeout=300)
    bash.run("exit 0", timeout=300)
    assert bash.out("echo $A") == ["1"]


# ---- output ----

# printf arguments, and the texts of the events (contract 2.4).
LINES = {
    "a\\n\\nb\\n\\n\\nc\\n": ["a", "\n", "b", "\n", "\n", "c"], "a\\n\\nb\\n\\n\\nc\\n\\r\\nd\\n": ["a", "\n", "b", "\n", "\n", "c", "\n", "d"],
    "line1\\nprog 10%%\\rprog 20%%\\nlast\\n": ["line1", "prog 10%", "prog 20%", "last"], "tail1\\r\\ntail2\\n": ["tail1", "tail2"],
    "tail": ["tail"], "\\n": ["\n"], "\\n\\n": ["\n", "\n"], "\\n\\ntail": ["\n", "\n", "tail"], "": [], "a\\000b\\n": ["a\0b"],
    "\\377\\n": ["\ufffd"], "\\303(\\n": ["\ufffd("], "\\303\\244\\342\\202\\254\\n": ["ä€"], " \\t \\n": [" \t "], "\\033[31mred\\033[0m\\n": ["\x1b[31mred\x1b[0m"],
}


@pytest.mark.parametrize("text", LINES)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_lines_of(s, stream, text):
    for _ in range(2):
        run = s.run(f"printf '{text}'" + (" >&2" if stream == "stderr" else ""))
        assert run.ok and run.texts(stream) == LINES[text]
        assert run.texts("stderr" if stream == "stdout" else "stdout") == []


def test_an_unterminated_line_does_not_run_into_the_next_run(s):
    run = s.run("printf out; printf err >&2")
    assert (run.stdout, run.stderr) == (["out"], ["err"])
    run = s.run("echo next; echo more >&2")
    assert (run.stdout, run.stderr) == (["next"], ["more"])


def test_merged_streams_keep_their_order(s):
    command = "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; sh -c 'echo c; echo d >&2'; done"
    run = s.run(command, merge_stderr=True)
    assert run.stderr == [] and run.stdout == [x for i in range(1, 6) for x in (f"o{i}", f"e{i}", "c", "d")]
    run = s.run(command)
    assert len(run.stdout) == len(run.stderr) == 10, "the next run has two streams again"
    assert s.run("no-such-program", merge_stderr=True).stderr == []


def test_a_merged_run_that_ends_the_shell(s):
    run = s.run("echo a; echo b >&2; exit 3", merge_stderr=True)
    assert (run.stdout, run.stderr, run.exit_code) == (["a", "b"], [], 3)
    run = s.run("echo a; echo b >&2")
    assert (run.stdout, run.stderr) == (["a"], ["b"])


def test_a_megabyte_of_output(s):
    out = s.out("seq -f '%099.0f' 1 10000")
    assert out == ["%099d" % i for i in range(1, 10001)]
    assert s.out("echo next") == ["next"]


def test_a_command_of_a_hundred_kilobytes(s):
    text = "x'\\''€" * 12000
    assert s.out(f"v='{text}'; printf %s \"$v\" | wc -c; : end") == [str(len("x'€".encode()) * 12000)]
    lines = "\n".join(f"echo line {i}" for i in range(6000))
    assert s.out(lines) == [f"line {i}" for i in range(6000)]


def test_heredocs(s):
    assert s.out("A=1\ncat <<E\na $A\n\n`echo sub`\nE\ncat <<'E'\n$A 'x'\nE\ncat <<-E\n\ttab\n\tE\n") == ["a 1", "\n", "sub", "$A 'x'", "tab"]
    assert s.out("echo $A") == ["1"]


def test_an_open_heredoc_ends_with_the_command(s):
    run = s.run("cat <<E\nline\n")
    assert run.stdout == ["line"]
    assert s.out("echo next") == ["next"]


def test_stdin_is_empty(s):
    assert s.out("cat; read x; echo $?; readlink /proc/self/fd/0; wc -c") == ["1", "/dev/null", "0"]
    assert s.out("while read line; do echo got $line; done; echo end") == ["end"]


def test_stdin_can_be_redirected_for_the_commands_that_follow(s):
    s.out("echo one >f; echo two >>f")
    assert s.out("exec <f; read x; echo $x") == ["one"]
    assert s.run("echo next").stdout == ["next"]


def test_markers_of_others_forge_nothing(s):
    s.out("cd /usr; A=1")
    markers = ["__ENV_DUMP_START__", "export A='forged'", "__ENV_DUMP_END__", "__PWD__:/tmp", "__EXIT_CODE__:9", "\n", "__EXIT_CODE__:0"]
    command = "printf '\\n'; cat <<'E'\n" + "\n".join(m.strip("\n") for m in markers) + "\nE"
    assert s.out(command) == ["\n", *markers]
    assert s.out("echo $A; pwd") == ["1", "/usr"]
    assert s.run("echo __EXIT_CODE__:0; false").error["evalue"] == "1"


# ---- tracing ----


def traced(run, *commands):
    """The trace shows these commands and nothing else."""
    seen = [re.sub(r"^\++ ", "", line) for line in run.stderr]
    return seen == list(commands)


def test_set_x_shows_the_commands_and_no_others(s):
    run = s.run("set -x; echo a; x=1")
    assert run.stdout == ["a"] and traced(run, "echo a", "x=1"), run.stderr
    run = s.run("echo b")
    assert run.stdout == ["b"] and traced(run, "echo b"), run.stderr
    run = s.run("exit 3")
    assert run.exit_code == 3 and traced(run, "exit 3"), run.stderr
    run = s.run("echo c")
    assert run.stdout == ["c"] and traced(run, "echo c"), run.stderr
    run = s.run("set +x")
    assert traced(run, "set +x"), run.stderr
    assert s.out("echo d") == ["d"]


def test_set_v_shows_no_lines_that_nobody_wrote(s):
    run = s.run("set -v")
    assert [x for x in run.stderr if x not in ("set -v", "\n")] == []
    run = s.run("echo b")
    assert run.stdout == ["b"] and [x for x in run.stderr if x not in ("echo b", "\n")] == []
    assert s.run("set +v").ok
    assert s.out("echo c") == ["c"]


def test_bash_traps_see_the_commands_and_no_others(bash):
    assert bash.out("trap 'echo \"D $BASH_COMMAND\"' DEBUG") == []
    assert bash.out("echo a") == ["D echo a", "a"]
    assert bash.out("trap - DEBUG") == ["D trap - DEBUG"]
    assert bash.out("trap 'echo E' ERR; true") == []
    assert bash.out("true; false; true") == ["E"]
    assert bash.run("false").stdout == ["E"]
    assert bash.out("trap - ERR; echo end") == ["end"]


def test_an_exit_trap_runs_when_the_shell_ends_and_is_heard(s):
    assert s.out("trap 'echo bye' EXIT; echo set") == ["set"]
    assert s.out("echo between") == ["between"]
    run = s.run("exit 3")
    assert run.stdout == ["bye"] and run.exit_code == 3


# ---- descriptors and environment ----


@pytest.mark.parametrize("command", [
    "ls /proc/self/fd", "(ls /proc/self/fd; :)", "ls /proc/self/fd | cat", "echo $(ls /proc/self/fd) | tr ' ' '\\n'", "exec ls /proc/self/fd",
    "ls /proc/self/fd & wait", "sh -c 'ls /proc/self/fd; :'", "f() { ls /proc/self/fd; }; f", "env ls /proc/self/fd", "nohup ls /proc/self/fd 2>/dev/null",
])
def test_programs_inherit_no_private_descriptor(s, command):
    if command.startswith("nohup") and not s.daemon.bash:
        return
    for _ in range(2):
        assert s.run(command).stdout == ["0", "1", "2", "3"], "3 is the directory that ls reads"


def test_the_environment_is_that_of_a_command(s):
    names = "env | cut -d= -f1 | grep -E '^[A-Za-z_0-9]+$' | sort"
    plain = set(s.daemon.run(names, cwd="/").stdout)
    for _ in range(2):
        mine = set(s.out(names))
        assert mine - plain <= {"OLDPWD"} and plain - mine <= {"OLDPWD", "_", "SHLVL"}
        s.run("exit 1")
    assert [x for x in s.out("env") if re.search("boxd|execd|session|driver", x.split("=")[0], re.I)] == []


def test_variables_of_the_driver_say_whose_they_are(s):
    """What stands in the way of nobody: all that a session adds begins with __boxd."""
    plain = set(s.daemon.run("set | sed -n 's/^\\([A-Za-z_0-9]*\\)=.*/\\1/p'", cwd="/").stdout)
    mine = s.run("set | sed -n 's/^\\([A-Za-z_0-9]*\\)=.*/\\1/p'").stdout
    assert [x for x in mine if x not in plain and not x.startswith("__boxd")] in ([], ["OLDPWD"], ["PIPESTATUS"])


def test_signals_are_as_a_command_has_them(s):
    for _ in range(2):
        assert s.out("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'") == ["SigBlk:0000000000000000", "SigIgn:0000000000000000"]
        assert [x for x in s.out("trap") if "__boxd" not in x] == []
        s.run("exit 1")


def test_parameters_and_functions_begin_empty(s):
    assert s.out("echo $# \"$*\"") == ["0 "]
    assert s.run("return 3; echo no").exit_code is not None
    if s.daemon.bash:
        assert s.out('echo "${FUNCNAME[*]}"; declare -F | grep -v __boxd; alias') == ["\n"]


# ---- a shell that redirects itself ----


def test_tee_and_back_in_one_run(s):
    s.out("mkfifo p; tee f <p >/dev/null & exec 5>&1 6>&2; exec >p 2>&1; rm p; echo inside; echo err >&2; exec 1>&5 2>&6 5>&- 6>&-; wait; echo outside")
    assert s.out("cat f") == ["inside", "err"]


def test_process_substitution_and_back(bash):
    run = bash.run("exec 5>&1 6>&2; exec > >(tee f) 2>&1; echo inside; echo err >&2; exec 1>&5 2>&6 5>&- 6>&-; wait; echo outside")
    assert run.ok and sorted(run.stdout) == ["err", "inside", "outside"] and run.stderr == []
    assert bash.out("cat f; echo next") == ["inside", "err", "next"]


def test_a_redirection_of_the_shell_does_not_break_the_runs_that_follow(bash):
    run = bash.run("exec > >(tee f) 2>&1; echo inside")
    assert run.ok
    assert bash.run("echo second; echo err >&2").ok
    bash.run("exit 0")
    run = bash.run("cat f; echo third; echo err >&2")
    assert run.stdout[-1] == "third" and "inside" in run.stdout and run.stderr[-1] == "err"


def test_closed_outputs_end_no_session(s):
    s.run("exec >&- 2>&-; echo nowhere", timeout=5000)
    assert s.run("exit 0", timeout=5000).exit_code is not None
    assert s.out("echo back") == ["back"]


# ---- jobs ----


def test_a_job_does_not_hold_its_run(s):
    run = s.run("sleep 100 & echo $!")
    pid = int(run.stdout[0])
    assert run.last["execution_time"] < 5000 and procfs.alive(pid)
    assert s.out(f"kill -0 {pid} && echo alive") == ["alive"]
    s.delete()
    procfs.wait_until(lambda: not procfs.alive(pid), 5)


def test_what_a_job_says_between_two_runs_belongs_to_none(s):
    s.out("(while [ ! -e go ]; do sleep 0.01; done; echo late; touch said) &")
    where = s.info()["cwd"]
    open(f"{where}/go", "w").close()
    procfs.wait_until(lambda: os.path.exists(f"{where}/said"))
    assert s.out("wait; echo next") == ["next"]


def test_a_pipeline_a_group_and_a_subshell(s):
    assert s.out("seq 1 5 | while read n; do echo $((n * n)); done | tail -2; { echo g; }; (cd /; pwd); pwd") == [
        "16", "25", "g", "/", s.info()["cwd"]]
