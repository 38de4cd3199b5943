"""llama.cpp's own server with a model, in a process of its own.

python -m tests.gemma.llama_server MODEL.gguf PROJECTOR.gguf NAME [PORT]
"""

import signal
import sys
import threading

TEMPLATE = """{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}\
{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<__media__>{% endif %}{% endfor %}{% endif %}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
"""Gemma's turns; the base model comes without a template."""


def main(model: str, projector: str, name: str, port: str = "0") -> None:
    """Serve until the process is told to end.

    Args:
        model: GGUF of the language model.
        projector: GGUF of the image projector.
        name: what the server calls the model.
        port: TCP port, or 0 for a free one, which is printed.
    """
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.mmproj.path = model, projector
    settings.model_alias = {name}
    settings.chat_template, settings.use_jinja = TEMPLATE, True
    settings.hostnames, settings.port = ["127.0.0.1"], int(port)
    settings.n_ctx, settings.n_parallel = 4096, 2
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
