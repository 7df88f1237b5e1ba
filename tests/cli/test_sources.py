"""What the user points at with `start`, and what reaches the orchestrator."""

import base64
import io
import json
import os
import socket
import tarfile
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_orchestrator import FakeOrchestrator


def write(folder: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def members(orchestrator: FakeOrchestrator) -> dict[str, tarfile.TarInfo]:
    content = base64.b64decode(orchestrator.started["archive"], validate=True)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return {member.name: member for member in archive}


class TestSimple:
    def test_one_file_keeps_its_name_and_is_the_entrypoint(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        (tmp_path / "shop_bot.py").write_bytes("print('привет')\r\n".encode())
        assert run("start", "shop", "--simple", tmp_path / "shop_bot.py").exit_code == 0
        assert orchestrator.started["deployment_mode"] == "simple"
        assert orchestrator.started["entrypoint"] == "shop_bot.py"
        assert orchestrator.started["files"] == {"shop_bot.py": "print('привет')\r\n"}

    def test_several_files_and_folders_can_follow_each_other(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "main.py", "helpers.py", "handlers/__init__.py", "handlers/deep/menu.py")
        run("start", "shop", "--simple", tmp_path / "main.py", tmp_path / "helpers.py", tmp_path / "handlers")
        assert sorted(orchestrator.started["files"]) == [
            "handlers/__init__.py",
            "handlers/deep/menu.py",
            "helpers.py",
            "main.py",
        ]
        assert orchestrator.started["entrypoint"] == "main.py"

    def test_a_folder_is_sent_without_what_is_not_code(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py", "texts/en.json", ".env.example")
        write(
            tmp_path, ".git/config", "__pycache__/bot.pyc", ".venv/lib/x.py", "env/pyvenv.cfg", "env/bin/x.py"
        )
        write(tmp_path, ".env", ".env.production", text="BOT_TOKEN=123:sentinel\n")
        result = run("start", "shop", "--simple", tmp_path)
        assert sorted(orchestrator.started["files"]) == [".env.example", "bot.py", "texts/en.json"]
        assert "Not sent: .env, .env.production" in result.stderr
        assert "--env-file" in result.stderr

    def test_code_can_come_from_stdin(self, run: Run, orchestrator: FakeOrchestrator) -> None:
        run("start", "shop", "--simple", "-", stdin="print(1)\n")
        assert orchestrator.started["code"] == "print(1)\n"

    def test_a_binary_file_is_refused_by_name(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py")
        (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
        result = run("start", "shop", "--simple", tmp_path)
        assert result.exit_code == 2
        assert "logo.png is not text" in result.stderr
        assert "--custom" in result.stderr
        assert not orchestrator.submitted

    def test_too_much_is_refused_before_it_is_read(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py")
        with (tmp_path / "data.txt").open("wb") as huge:
            huge.truncate(1 << 40)
        result = run("start", "shop", "--simple", tmp_path)
        assert result.exit_code == 2
        assert "larger than 4 MiB" in result.stderr

    def test_a_link_out_of_the_folder_is_refused(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot/bot.py", "secret.txt")
        (tmp_path / "bot" / "notes.txt").symlink_to("../secret.txt")
        result = run("start", "shop", "--simple", tmp_path / "bot")
        assert result.exit_code == 2
        assert "leads out of" in result.stderr

    def test_a_link_within_the_folder_is_followed(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py")
        (tmp_path / "main.py").symlink_to("bot.py")
        run("start", "shop", "--simple", tmp_path)
        assert sorted(orchestrator.started["files"]) == ["bot.py", "main.py"]

    def test_an_unclear_entrypoint_is_asked_for(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "one.py", "two.py")
        result = run("start", "shop", "--simple", tmp_path)
        assert result.exit_code == 2
        assert "there are one.py, two.py" in result.stderr
        run("start", "shop", "--simple", tmp_path, "--entrypoint", "two.py")
        assert orchestrator.started["entrypoint"] == "two.py"

    def test_files_of_one_name_are_refused(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "a/bot.py", "b/bot.py")
        result = run("start", "shop", "--simple", tmp_path / "a/bot.py", tmp_path / "b/bot.py")
        assert result.exit_code == 2
        assert "both be called bot.py" in result.stderr

    def test_a_missing_file_is_named(self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path) -> None:
        result = run("start", "shop", "--simple", tmp_path / "nosuch.py")
        assert result.exit_code == 2
        assert "nosuch.py" in result.stderr


class TestRequirements:
    def test_the_folders_own_file_is_used(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py")
        write(tmp_path, "requirements.txt", text="# bots\naiogram>=3  # the framework\n\n-r more.txt\n")
        write(tmp_path, "more.txt", text="httpx[http2] \\\n  ==0.28.1\n")
        run("start", "shop", "--simple", tmp_path)
        assert orchestrator.started["requirements"] == ["aiogram>=3", "httpx[http2]    ==0.28.1"]

    def test_what_is_given_wins_over_the_folders_own(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot/bot.py")
        write(tmp_path, "bot/requirements.txt", text="nosuch\n")
        write(tmp_path, "deps.txt", text="httpx\n")
        run("start", "shop", "--simple", tmp_path / "bot", "-r", "aiogram>=3", "-r", tmp_path / "deps.txt")
        assert orchestrator.started["requirements"] == ["aiogram>=3", "httpx"]

    def test_options_in_the_file_are_left_to_the_worker(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "bot.py")
        write(tmp_path, "requirements.txt", text="--index-url https://example.com\n-e .\n")
        run("start", "shop", "--simple", tmp_path)
        assert orchestrator.started["requirements"] == ["--index-url https://example.com", "-e ."]

    @pytest.mark.parametrize("text", ["-r requirements.txt\n", "-r nosuch.txt\n"])
    def test_files_that_cannot_be_resolved_are_named(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path, text: str
    ) -> None:
        write(tmp_path, "bot.py")
        write(tmp_path, "requirements.txt", text=text)
        result = run("start", "shop", "--simple", tmp_path)
        assert result.exit_code == 2
        assert text.split()[1] in result.stderr


class TestCustomFolder:
    def test_everything_is_packed_but_git_and_dotenv_files(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(
            tmp_path, "Dockerfile", "src/bot.py", ".dockerignore", "tmp/x", ".git/config", ".env", "src/.env"
        )
        (tmp_path / "run.sh").write_text("#!/bin/sh\n")
        (tmp_path / "run.sh").chmod(0o700)
        (tmp_path / "empty").mkdir()
        (tmp_path / "link").symlink_to("src/bot.py")
        result = run("start", "shop", "--custom", tmp_path)
        found = members(orchestrator)
        assert sorted(found) == [
            ".dockerignore",
            "Dockerfile",
            "empty",
            "link",
            "run.sh",
            "src",
            "src/bot.py",
            "tmp",
            "tmp/x",
        ]
        assert (found["run.sh"].mode, found["src/bot.py"].mode) == (0o755, 0o644)
        assert found["link"].linkname == "src/bot.py"
        assert "Not sent: .env" in result.stderr

    def test_left_out_names_can_be_included(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        write(tmp_path, "Dockerfile", ".git/config", ".env")
        run("start", "shop", "--custom", tmp_path, "--include", ".env", "--include", ".git")
        assert {".env", ".git", ".git/config"} <= set(members(orchestrator))

    def test_the_same_content_is_the_same_archive(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        for folder, names, umask in (("one", ("a", "b"), 0o644), ("two", ("b", "a"), 0o600)):
            write(tmp_path / folder, *names)
            for moment, name in enumerate(names):
                (tmp_path / folder / name).chmod(umask)
                os.utime(tmp_path / folder / name, (moment, moment))
            run("start", "shop", "--custom", tmp_path / folder)
        first, second = orchestrator.asked("start")
        assert first["archive"] == second["archive"]

    def test_a_socket_in_the_folder_is_no_obstacle(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, "Dockerfile")
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("live.sock")
            run("start", "shop", "--custom", ".")
        assert set(members(orchestrator)) == {"Dockerfile"}

    def test_an_empty_folder_is_refused(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        result = run("start", "shop", "--custom", tmp_path)
        assert result.exit_code == 2
        assert "nothing to send" in result.stderr

    def test_too_large_a_folder_is_refused_with_a_way_out(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        (tmp_path / "noise").write_bytes(os.urandom(33 << 20))
        result = run("start", "shop", "--custom", tmp_path)
        assert result.exit_code == 2
        assert "larger than 32 MiB" in result.stderr
        assert "--git" in result.stderr


class TestCustomFile:
    def test_an_archive_is_sent_as_it_is(
        self, run: Run, orchestrator: FakeOrchestrator, tmp_path: Path
    ) -> None:
        path = tmp_path / "project.tar.xz"
        with tarfile.open(path, "w:xz") as archive:
            archive.addfile(tarfile.TarInfo("Dockerfile"))
        run("start", "shop", "--custom", path)
        assert orchestrator.started["deployment_mode"] == "custom"
        assert base64.b64decode(orchestrator.started["archive"]) == path.read_bytes()

    def test_any_other_file_is_refused_with_a_hint(
        self, run: Run, orchestrator: FakeOrchestrator, bot_file: Path
    ) -> None:
        result = run("start", "shop", "--custom", bot_file)
        assert result.exit_code == 2
        assert "neither a tar nor a zip" in result.stderr
        assert "--simple" in result.stderr


class TestRemote:
    @pytest.mark.parametrize(
        ("url", "field"),
        [
            ("https://example.com/shop.tar.gz", "archive_url"),
            ("https://example.com/shop.zip?version=2", "archive_url"),
            ("https://example.com/download?id=3", "archive_url"),
            ("https://github.com/me/shop/archive/refs/heads/main.tar.gz", "archive_url"),
            ("https://github.com/me/shop", "git_repo"),
            ("https://www.gitlab.com/group/sub/shop/", "git_repo"),
            ("https://git.example.com/shop.git", "git_repo"),
            ("git@example.com:me/shop", "git_repo"),
            ("ssh://git@example.com/me/shop", "git_repo"),
        ],
    )
    def test_a_url_is_told_apart_by_its_shape(
        self, run: Run, orchestrator: FakeOrchestrator, url: str, field: str
    ) -> None:
        run("start", "shop", "--custom", url)
        assert orchestrator.started["deployment_mode"] == "custom"
        assert {key for key in orchestrator.started if key.startswith(("git", "archive"))} == {field}
        assert orchestrator.started[field] == url

    def test_git_with_branch_subdir_and_token(
        self, run: Run, orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_TOKEN", "from-environment")
        arguments = ("start", "shop", "--git", "https://git.example.com/shop", "--branch", "dev")
        run(*arguments, "--subdir", "bots/shop")
        run(*arguments, "--git-token-stdin", stdin="from-stdin\n")
        first, second = orchestrator.asked("start")
        assert (first["git_branch"], first["git_subdir"]) == ("dev", "bots/shop")
        assert (first["git_token"], second["git_token"]) == ("from-environment", "from-stdin")

    def test_a_page_of_a_repository_is_refused_with_the_right_command(
        self, run: Run, orchestrator: FakeOrchestrator
    ) -> None:
        result = run("start", "shop", "--git", "https://github.com/me/shop/tree/main/bots")
        assert result.exit_code == 2
        assert "--git https://github.com/me/shop --branch NAME --subdir FOLDER" in result.stderr

    def test_an_image_with_a_password_from_stdin(self, run: Run, orchestrator: FakeOrchestrator) -> None:
        image = ("--image", "registry.example.com/me/shop:1", "--registry-user", "me")
        run("start", "shop", *image, "--registry-password-stdin", stdin="correct horse\n")
        assert orchestrator.started["docker_image"] == "registry.example.com/me/shop:1"
        assert orchestrator.started["registry_auth"] == {"username": "me", "password": "correct horse"}

    def test_a_password_cannot_be_asked_for_without_a_terminal(
        self, run: Run, orchestrator: FakeOrchestrator
    ) -> None:
        result = run("start", "shop", "--image", "r.example.com/x", "--registry-user", "me")
        assert result.exit_code == 2
        assert "--registry-password-stdin" in result.stderr


class TestOtherMode:
    def test_params_are_texts_or_json(self, run: Run, orchestrator: FakeOrchestrator) -> None:
        run("start", "shop", "--mode", "echo", "--param", "text=a=b", "--param", "times:=3")
        assert orchestrator.started["deployment_mode"] == "echo"
        assert (orchestrator.started["text"], orchestrator.started["times"]) == ("a=b", 3)

    @pytest.mark.parametrize("param", ["text", "=x", "n:=three", "user_id=other"])
    def test_a_param_that_cannot_be_sent_is_refused(
        self, run: Run, orchestrator: FakeOrchestrator, param: str
    ) -> None:
        result = run("start", "shop", "--mode", "echo", "--param", param)
        assert result.exit_code == 2
        assert not orchestrator.submitted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "What is to run?"),
        (("--simple", "bot.py", "--image", "x"), "--simple and --image cannot be combined"),
        (("--git", "https://example.com/x.git", "more.py"), "More files goes only with --simple"),
        (("--image", "x", "-r", "aiogram"), "-r goes only with --simple"),
        (("--image", "x", "--entrypoint", "bot.py"), "--entrypoint goes only with"),
        (("--simple", "bot.py", "--branch", "main"), "--branch goes only with a git repository"),
        (("--custom", "https://e.com/x.zip", "--subdir", "a"), "--subdir goes only with a git repository"),
        (("--image", "x", "--registry-password-stdin"), "goes only with --registry-user"),
        (("--simple", "bot.py", "--param", "a=b"), "--param goes only with --mode"),
        (("--simple", "bot.py", "--include", ".env"), "--include goes only with --custom"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    run: Run, orchestrator: FakeOrchestrator, arguments: tuple[str, ...], said: str
) -> None:
    result = run("start", "shop", *arguments, "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "USAGE"
    assert said in error["message"]
    assert not orchestrator.submitted
