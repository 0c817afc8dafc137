"""Configurations of HAProxy and nginx, proxies in C without identities, and of nginx as the server. Pure."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import work
from benchmarks.peers.work import HOST


def server(port: int, folder: Path) -> str:
    """nginx as the application: five bytes, from memory."""
    return _nginx('default_type text/plain; location / { return 200 "hello"; }', port, folder)


def nginx(port: int, upstream: int, folder: Path) -> str:
    """nginx as a proxy: one route, connections kept."""
    upstreams = f"upstream web {{ server {HOST}:{upstream}; keepalive 64; keepalive_requests 1000000000; }}"
    to = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_pass http://web;'
    return _nginx(f"location / {{ {to} }}", port, folder, upstreams)


def _nginx(inner: str, port: int, folder: Path, outer: str = "") -> str:
    # One process, so that its CPU time is one process's.
    return f"""
daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx-{port}.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/body-{port}; proxy_temp_path {folder}/proxy-{port};
  fastcgi_temp_path {folder}/fastcgi-{port}; uwsgi_temp_path {folder}/uwsgi-{port}; scgi_temp_path {folder}/scgi-{port};
  {outer}
  server {{ listen {HOST}:{port}; {inner} }}
}}
"""


def haproxy(port: int, upstream: int) -> str:
    """HAProxy with the features: a header to the canary, weights, one retry, time-outs, a limit of failures."""
    name, value = work.CANARY_HEADER
    stable, canary = work.WEIGHTS
    guard = f"check inter 1h observe layer7 error-limit {work.FAILURES} on-error mark-down"
    return f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 600s
  timeout server {work.TIMEOUT}s
  retries 1
  option redispatch
  retry-on conn-failure empty-response
  http-reuse always
frontend in
  bind {HOST}:{port}
  acl web hdr(host) -m str {work.AUTHORITY}
  acl tester hdr({name}) -m str {value}
  use_backend canary if web tester
  default_backend split
backend split
  server stable {HOST}:{upstream} weight {stable} {guard}
  server canary {HOST}:{upstream} weight {canary} {guard}
backend canary
  server canary {HOST}:{upstream} {guard}
"""
