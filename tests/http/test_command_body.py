"""POST /command: bodies that are refused, and what is tolerated (contract 1.1, 1.19)."""

import json

import pytest

BAD = {
    "empty body": "",
    "not JSON": "command=ls",
    "cut off": '{"command":"ls"',
    "an array": "[]",
    "a string": '"ls"',
    "a number": "5",
    "true": "true",
    "null": "null",
    "no command": "{}",
    "empty command": '{"command":""}',
    "null command": '{"command":null}',
    "number command": '{"command":5}',
    "array command": '{"command":["ls"]}',
    "object command": '{"command":{}}',
    "NUL in the command": '{"command":"a\\u0000b"}',
    "raw NUL": '{"command":"a\0b"}',
    "raw newline in a string": '{"command":"a\nb"}',
    "single quotes": "{'command':'ls'}",
    "trailing comma": '{"command":"ls",}',
    "comment": '{"command":"ls" /* x */}',
    "bad escape": '{"command":"\\x41"}',
    "half a surrogate escape": '{"command":"\\ud83"}',
    "NaN": '{"command":"ls","timeout":NaN}',
    "leading zero": '{"command":"ls","timeout":0123}',
    "number cwd": '{"command":"ls","cwd":5}',
    "NUL in cwd": '{"command":"ls","cwd":"/\\u0000"}',
    "text background": '{"command":"ls","background":"yes"}',
    "number background": '{"command":"ls","background":1}',
    "text timeout": '{"command":"ls","timeout":"5"}',
    "negative timeout": '{"command":"ls","timeout":-1}',
    "fractional timeout": '{"command":"ls","timeout":1.5}',
    "huge timeout": '{"command":"ls","timeout":1e300}',
    "timeout over 64 bits": '{"command":"ls","timeout":99999999999999999999}',
    "text uid": '{"command":"ls","uid":"0"}',
    "negative uid": '{"command":"ls","uid":-1}',
    "uid over 32 bits": '{"command":"ls","uid":4294967296}',
    "uid that means none": '{"command":"ls","uid":4294967295}',
    "fractional uid": '{"command":"ls","uid":0.5}',
    "bool uid": '{"command":"ls","uid":true}',
    "gid without uid": '{"command":"ls","gid":0}',
    "negative gid": '{"command":"ls","uid":0,"gid":-1}',
    "array envs": '{"command":"ls","envs":["A=b"]}',
    "text envs": '{"command":"ls","envs":"A=b"}',
    "number in envs": '{"command":"ls","envs":{"A":5}}',
    "empty name in envs": '{"command":"ls","envs":{"":"x"}}',
    "= in a name": '{"command":"ls","envs":{"A=B":"x"}}',
    "NUL in a value": '{"command":"ls","envs":{"A":"\\u0000"}}',
    "NUL in a name": '{"command":"ls","envs":{"A\\u0000":"x"}}',
    "command and argv": '{"command":"ls","argv":["ls"]}',
    "empty argv": '{"argv":[]}',
    "text argv": '{"argv":"ls"}',
    "no program in argv": '{"argv":["","x"]}',
    "number in argv": '{"argv":["ls",5]}',
    "null in argv": '{"argv":["ls",null]}',
    "NUL in argv": '{"argv":["ls","\\u0000"]}',
    "argv and shell": '{"argv":["ls"],"shell":"sh"}',
    "number shell": '{"command":"ls","shell":5}',
    "empty shell": '{"command":"ls","shell":""}',
    "unknown on_disconnect": '{"command":"ls","on_disconnect":"explode"}',
    "bool on_disconnect": '{"command":"ls","on_disconnect":true}',
    "background that dies with its client":
        '{"command":"ls","background":true,"on_disconnect":"kill"}',
    "too deep": '{"command":"ls","x":' + "[" * 80 + "]" * 80 + "}",
    "far too deep": '{"x":' + "[" * 500000,
    "too many values": "[" + "0," * 200000 + "0]",
    "long command": json.dumps({"command": "x" * 131072}),
    "long argument": json.dumps({"argv": ["echo", "x" * 131072]}),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_a_body_with(shared, name):
    with shared.connect() as c:
        r = c.request("POST", "/command", body=BAD[name])
        assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
        assert len(r.json()["message"]) < 300
        assert c.request("GET", "/ping").status == 200


def test_a_refused_field_is_named(shared):
    for field, value in (("timeout", -1), ("uid", "x"), ("cwd", 5), ("envs", []), ("argv", {}), ("background", 0)):
        body = {"command": "true", field: value}
        if field == "argv":
            del body["command"]
        assert field in shared.refuse(400, "INVALID_REQUEST_BODY", **body), field


TOLERATED = {
    "unknown keys": '{"command":"echo ok","wat":{"x":[1,2,{"y":null}]}}',
    "duplicate keys, the last wins": '{"command":"echo no","command":"echo ok"}',
    "keys in another case": '{"Command":"echo ok","CWD":"/"}',
    "null members": '{"command":"echo ok","cwd":null,"timeout":null,"uid":null,"gid":null,"envs":null,'
                    '"background":null,"argv":null,"shell":null,"on_disconnect":null}',
    "bytes after the value": '{"command":"echo ok"} trailing',
    "a second value": '{"command":"echo ok"}{"command":"echo no"}',
    "white space around": ' \n\t\r{ "command" : "echo ok" }\n',
    "escapes": '{"command":"\\u0065cho\\u0020ok"}',
    "a surrogate pair": '{"command":"echo ok # \\ud83d\\ude00"}',
}


@pytest.mark.parametrize("name", TOLERATED)
def test_tolerates(shared, name):
    with shared.connect() as c:
        assert c.stream("POST", "/command", body=TOLERATED[name]).collect().stdout == ["ok"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_the_content_type_is_not_checked(shared, kind):
    with shared.connect() as c:
        s = c.stream("POST", "/command", {"Content-Type": kind} if kind else (), '{"command":"echo ok"}')
        assert s.collect().stdout == ["ok"]


def test_a_command_of_white_space_runs(shared):
    assert shared.run("   ").ok


def test_bytes_that_are_not_utf8_reach_the_command(shared):
    with shared.connect() as c:
        r = c.head("POST", "/command", body=b'{"command":"printf \'%s\' \'\xff\' | od -An -tx1"}')
        c.send(r)
        head = c.response_head()
        assert head.status in (200, 400), head
