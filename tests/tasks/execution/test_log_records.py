import io
import logging

import tasks  # noqa: F401  # whose import makes records printable


def test_no_message_and_no_traceback_steers_a_terminal():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        logger.warning("of a file: %s\n\tsecond line", "\x1b[2J\x9b\u202e\ud800é")
        try:
            raise ValueError("bad name \x1b]0;title\x07")
        except ValueError:
            logger.exception("it failed")
    finally:
        logger.removeHandler(handler)
    text = stream.getvalue()
    assert text.startswith("of a file: \\x1b[2J\\x9b\\u202e\\ud800é\n\tsecond line\nit failed\nTraceback (most recent")
    assert text.endswith("ValueError: bad name \\x1b]0;title\\x07\n")


def test_a_record_still_says_what_it_said():
    record = logging.getLogger().makeRecord("a", logging.INFO, "f.py", 3, "%s of %d", ("é", 4), None)
    assert (record.getMessage(), record.args, record.exc_text) == ("é of 4", ("é", 4), None)


def test_the_login_of_a_web_socket_and_that_of_an_address_are_left_out():
    quoted = """[type=missing, input_value={'type': 'auth', 'token': 'team:secret'}] {"token": "secret"} at http://a:secret@h"""
    record = logging.getLogger().makeRecord("a", logging.INFO, "f.py", 3, quoted, (), None)
    record.exc_text = quoted
    for said in (record.getMessage(), record.exc_text):
        assert "secret" not in said
        assert "'token': '…'" in said
