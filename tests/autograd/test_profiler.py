"""torch.profiler: what it records of a program, in which steps, and that it leaves everything as it was."""

import json

import pytest

import rushlight as torch
from rushlight import nn
from rushlight.autograd.profiler import profile as old_profile
from rushlight.ops.declare import routing
from rushlight.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler


def counts(prof):
    return {event.key: event.count for event in prof.key_averages()}


def test_operations_gradients_and_updates_are_recorded():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = routing.interpreter
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_stack=True) as prof:
        for _ in range(2):
            with record_function("step"):
                net(torch.ones(5, 3)).square().mean().backward()
                optimizer.step()
    net(torch.ones(5, 3))
    assert routing.interpreter is before and routing.timing is None
    found = counts(prof)
    assert {"linear": 4, "relu": 2, "square": 2, "step": 2, "AddmmBackward0": 4}.items() <= found.items()
    assert found["Optimizer.step#SGD.step"] == 2
    assert [e.input_shapes[:2] for e in prof.events() if e.name == "linear"][:2] == [[[5, 3], [4, 3]], [[5, 4], [2, 4]]]
    by_shape = prof.key_averages(group_by_input_shape=True)
    assert [e.count for e in by_shape if e.key == "linear"] == [2, 2]
    step = next(e for e in prof.key_averages() if e.key == "step")
    inside = sum(e.self_cpu_time_total for e in prof.events() if e.name != "step")
    assert step.cpu_time_total == pytest.approx(step.self_cpu_time_total + inside)
    assert prof.total_average().count == len(prof.events())


def test_compiled_calls_are_recorded():
    net = torch.compile(nn.Linear(3, 2))
    net(torch.ones(1, 3))
    with old_profile() as prof:
        net(torch.ones(1, 3))
    assert counts(prof)["compiled Linear"] == 1 and "linear" not in counts(prof)


def test_memory_is_that_of_results():
    with profile(profile_memory=True) as prof:
        x = torch.ones(10, 10).exp()
        x[2].view(2, 5)
    memory = {e.key: (e.cpu_memory_usage, e.self_cpu_memory_usage) for e in prof.key_averages()}
    assert memory["exp"] == (400, 400)
    assert all(found == (0, 0) for name, found in memory.items() if name != "exp")


def test_the_table():
    with record_function("unseen"), old_profile() as prof, record_function("outer"):
        torch.ones(3).exp().exp()
    lines = prof.key_averages().table(sort_by="count", row_limit=1, header="mine").splitlines()
    assert lines[1] == "mine"
    assert lines[3].split("  ")[-1] == "# of Calls"
    assert lines[5].split()[0] == "exp" and lines[5].split()[-1] == "2"
    assert len(lines) == 8 and lines[-1].startswith("Self CPU time total: ")
    assert "outer" in str(prof)
    with pytest.raises(AttributeError, match="nonsense"):
        prof.table(sort_by="nonsense")
    assert old_profile(enabled=False).__enter__().table().count("\n") > 1


def test_steps_of_a_schedule():
    handed_on = []

    def ready(prof):
        handed_on.append((prof.step_num, counts(prof)))

    plan = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    with profile(schedule=plan, on_trace_ready=ready) as prof:
        for step in range(12):
            for _ in range(step):
                torch.ones(1).exp()
            prof.step()
    assert handed_on == [(5, {"exp": 3 + 4}), (9, {"exp": 7 + 8})]
    with profile(on_trace_ready=ready) as prof:
        torch.ones(1).exp()
    assert handed_on[2:] == [(0, {"exp": 1})]
    with pytest.raises(ValueError, match="active=0"):
        schedule(wait=1, warmup=0, active=0)


def test_traces_for_browsers(tmp_path):
    with profile(record_shapes=True, on_trace_ready=tensorboard_trace_handler(str(tmp_path / "log"), "me")) as prof:
        torch.ones(3).exp()
    (written,) = (tmp_path / "log").glob("me.*.pt.trace.json")
    prof.export_chrome_trace(tmp_path / "trace.json")
    for path in (written, tmp_path / "trace.json"):
        (event,) = json.loads(path.read_text())["traceEvents"]
        assert (event["name"], event["ph"], event["args"]) == ("exp", "X", {"Input Dims": [[3]]})


def test_an_error_ends_the_recording():
    before = routing.interpreter
    with pytest.raises(RuntimeError), profile() as prof, record_function("outer"):
        torch.ones(2) @ torch.ones(3)
    assert routing.interpreter is before and routing.timing is None
    assert counts(prof) == {"outer": 1, "matmul": 1}


def test_record_function_decorates():
    @record_function("twice")
    def twice(x, deep=True):
        return twice(x, False) if deep else x + x

    with old_profile() as prof:
        twice(torch.ones(1))
    assert counts(prof) == {"twice": 2, "add": 1}
