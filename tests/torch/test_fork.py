"""Forked children: the device is refused, quietly dropped, and never hangs."""


def test_child_is_refused_and_exits(python):
    out = python("""
        import os, torch, anygpu
        x = torch.ones(1000).to("anygpu")
        y = [torch.empty_like(x).copy_(x) for _ in range(50)]
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            said = []
            for f in (
                lambda: torch.empty(1, device="anygpu"),
                lambda: x.cpu(),
                lambda: y[0].copy_(x),
                lambda: x.resize_(5000),
                lambda: torch.anygpu.synchronize(),
                lambda: x.clone(),
            ):
                try:
                    f()
                    said.append("worked")
                except RuntimeError as e:
                    said.append("spawn" if "spawn" in str(e) else str(e))
            said.append(str(torch.anygpu._is_in_bad_fork()))
            said.append(str(torch.anygpu.is_initialized()))
            torch.manual_seed(0)
            del x, y
            os.write(write, " ".join(said).encode())
            raise SystemExit(0)  # through the interpreter's exit, not past it
        os.close(write)
        print(os.read(read, 10000).decode())
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert torch.equal(y[-1].cpu(), torch.ones(1000)), "the parent goes on"
    """)
    assert out.split() == ["spawn"] * 6 + ["True", "False"]


def test_child_of_an_unused_device_may_use_it(python):
    out = python("""
        import os, torch, anygpu
        assert torch.anygpu.is_available()
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                os.write(write, str(torch.ones(2).to("anygpu").cpu().sum().item()).encode())
            finally:
                os._exit(0)
        os.close(write)
        print(os.read(read, 100).decode())
    """)
    assert out.strip() == "2.0"


def test_multiprocessing_spawn(python, tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text("""
import torch, anygpu
import torch.multiprocessing as mp

def work(rank, q):
    q.put(torch.full((3,), float(rank)).to("anygpu").cpu().sum().item())

if __name__ == "__main__":
    torch.ones(1).to("anygpu")
    ctx = mp.get_context("spawn")
    q = ctx.Queue()
    children = [ctx.Process(target=work, args=(r, q)) for r in range(2)]
    [c.start() for c in children]
    print(sorted(q.get(timeout=1800) for _ in children))
    [c.join() for c in children]
""")
    out = python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert out.strip() == "[0.0, 3.0]"


def test_fork_while_another_thread_records(python):
    out = python(
        """
        import os, threading, torch, anygpu
        x = torch.ones(100).to("anygpu")
        stop = False
        def work():
            while not stop:
                y = torch.empty_like(x).copy_(x)
        t = threading.Thread(target=work)
        t.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                z = x[:1]
                del z, x
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop = True
        t.join()
        print("ok")
    """,
        timeout=1800,
    )
    assert out.strip() == "ok"
