"""Embedded AWS for a laptop: moto in one process, plus what moto leaves out.

``python -m local_aws --port 4566`` serves it on 127.0.0.1. Every AWS client works with
``AWS_ENDPOINT_URL=http://127.0.0.1:4566``. Each addition is one module that says which AWS behaviour it
stands for and where that is documented; ``app.py`` lists them.
"""
