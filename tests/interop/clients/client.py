"""One of Python's HTTP clients, named by the argument: each does what support.sh calls the main job."""
import asyncio
import os
import sys

HEADERS = {"Authorization": os.environ["APPLICATION_AUTHORIZATION"]}


def body_of(path):
    if path == "-":
        return None
    with open(path, "rb") as file:
        return file.read()


def with_urllib(requests):
    import urllib.error
    import urllib.request

    for method, url, body in requests:
        request = urllib.request.Request(url, data=body, headers=HEADERS, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                yield answer.status, answer.read()
        except urllib.error.HTTPError as error:
            yield error.code, error.read()


def with_requests(requests):
    from requests import Session

    with Session() as session:
        for method, url, body in requests:
            answer = session.request(method, url, data=body, headers=HEADERS)
            yield answer.status_code, answer.content


def with_httpx(requests):
    import httpx

    with httpx.Client(follow_redirects=True, timeout=30) as client:
        for method, url, body in requests:
            answer = client.request(method, url, content=body, headers=HEADERS)
            yield answer.status_code, answer.content


def with_aiohttp(requests):
    import aiohttp

    async def all_of_them():
        answers = []
        async with aiohttp.ClientSession(trust_env=True) as session:
            for method, url, body in requests:
                async with session.request(method, url, data=body, headers=HEADERS) as answer:
                    answers.append((answer.status, await answer.read()))
        return answers

    return asyncio.run(all_of_them())


def main():
    lines = [line.split() for line in sys.stdin]
    requests = [(method, url, body_of(send)) for method, url, send, _ in lines]
    answers = globals()["with_" + sys.argv[1]](requests)
    for (*_, save), (status, body) in zip(lines, answers):
        with open(save, "wb") as file:
            file.write(body)
        print(status)


main()
