"""Several processes train as one: the same loss, gradients, statistics and scores as the whole batch in one process."""

import os
import socket
import subprocess
import sys
from multiprocessing.connection import wait

import pytest
import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel
from train_runs import checkpoint_of, clean_processes, differences, log_of

from crispseg.config import LossConfig
from crispseg.losses import batch_of_all_processes, build_loss
from crispseg.losses.common import hardest_of_batch
from crispseg.metrics import SegmentationScores
from crispseg.models import create_model, load_model
from crispseg.recipes import save_recipe
from crispseg.train.checkpointing import checkpoint_blocks
from crispseg.train.sharding import shard, whole
from crispseg.train.sync_norm import synchronise_norms

CLASSES = 5


def model_of(head, backbone):
    """Without dropout, whose draws differ from process to process, and in 64 bits.

    In 32 a batch of two is rounded otherwise than one of four, and of the many activations at image resolution one or
    another comes out on the other side of ReLU's kink: gradients of the shape stream differ by 10⁻⁴ on some processors.
    """
    torch.manual_seed(0)
    model = create_model(head, backbone=backbone, num_classes=CLASSES, channels=8, output_stride=32)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.train().double()


def batch():
    """Four images whose halves differ much: one half is nearly all void."""
    random = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, 64, 96, generator=random).double()
    labels = torch.randint(0, CLASSES, (4, 8, 12), generator=random).repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[0, :56] = labels[1, :, 8:] = 255
    return images, labels


def step(model, loss, images, labels):
    with batch_of_all_processes():
        total = torch.stack(list(loss(model(images), labels).values())).sum()
    total.backward()
    return total.detach()


def in_two_processes(work, path, *arguments):
    """What the first of two processes returns from `work(rank, …)`, with a gloo group over both."""
    context = clean_processes()
    receive, send = context.Pipe(duplex=False)
    processes = [context.Process(target=_run, args=(rank, path, send, work, arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    wait([receive, *(process.sentinel for process in processes)], 120)  # a process that dies is not waited for
    result = receive.recv() if receive.poll(0) else None
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    return result


def _run(rank, path, send, work, arguments):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    result = work(rank, *arguments)
    if rank == 0:
        send.send(result)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def half_step(rank, head, backbone, config, sharded=False, checkpointing=None):
    model = model_of(head, backbone)
    if checkpointing is not None:
        checkpoint_blocks(model, checkpointing)
    synchronise_norms(model)
    images, labels = (part[2 * rank : 2 * rank + 2] for part in batch())
    if sharded:
        shard(model, "cpu", 2)
    parallel = model if sharded else DistributedDataParallel(model)
    total = step(parallel, build_loss(model.head.system, config, CLASSES), images, labels)
    torch.distributed.all_reduce(total)
    gradients = {name: whole(p.grad).numpy() for name, p in model.named_parameters() if p.grad is not None}
    return total.item() / 2, gradients, {name: buffer.numpy() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("sharded", [False, True], ids=["copies", "shards"])
@pytest.mark.parametrize(
    ("head", "backbone", "config"),
    [
        ("gff", "resnet10t", LossConfig(class_weights=(1.0, 0.5, 2.0, 1.0, 3.0))),
        ("gff", "resnet10t", LossConfig(segmentation="ohem", ohem_min_kept=9000)),
        ("gscnn", "resnet10t", LossConfig(dual_boundary_weight=0.0)),  # its gradient has noise, drawn by each process
        ("decoupled", "test_efficientnet", LossConfig()),  # norms that activate
        ("plain", "resnet10t", LossConfig(dice_weight=0.7, lovasz_weight=0.5)),
    ],
    ids=["cross-entropy", "hard pixels", "gscnn", "decoupled", "overlap"],
)
@pytest.mark.slow
def test_two_halves_of_a_batch_are_the_whole(head, backbone, config, sharded, tmp_path):
    loss, gradients, buffers = in_two_processes(half_step, tmp_path / "group", head, backbone, config, sharded)
    model = model_of(head, backbone)
    whole = step(model, build_loss(model.head.system, config, CLASSES), *batch())
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    largest = max(p.grad.abs().max().item() for p in model.parameters() if p.grad is not None)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            torch.from_numpy(gradients[name]) / largest, parameter.grad / largest, rtol=0, atol=1e-5, msg=name
        )
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(torch.from_numpy(buffers[name]), buffer, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["copies", "shards"])
def test_blocks_that_are_computed_again_change_nothing_in_two_processes(sharded, tmp_path):
    """Their statistics are shared again, by all processes in the same order, and counted once."""
    arguments = ("decoupled", "test_efficientnet", LossConfig(), sharded)
    loss, gradients, buffers = in_two_processes(half_step, tmp_path / "plain", *arguments)
    again, gradients_again, buffers_again = in_two_processes(
        half_step, tmp_path / "again", *arguments, "full" if sharded else "light"
    )
    assert again == pytest.approx(loss, rel=1e-6)
    largest = max(abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert abs(gradient - gradients_again[name]).max() <= 1e-5 * largest, name
    for name, buffer in buffers.items():
        assert buffer == pytest.approx(buffers_again[name], rel=1e-6), name


def unlike_halves(rank):
    """The losses of each half by itself, and of the whole: shows that the test above could fail."""
    model = model_of("gff", "resnet10t")
    loss = build_loss("segmentation", LossConfig(), CLASSES)
    images, labels = (part[2 * rank : 2 * rank + 2] for part in batch())
    alone = torch.stack(list(loss(model(images), labels).values())).sum().detach()
    torch.distributed.all_reduce(alone)
    return alone.item() / 2


@pytest.mark.slow
def test_without_the_shared_count_the_loss_would_differ(tmp_path):
    model = model_of("gff", "resnet10t")
    whole = step(model, build_loss("segmentation", LossConfig(), CLASSES), *batch())
    assert abs(in_two_processes(unlike_halves, tmp_path / "group") - whole.item()) > 1e-3


def score_half(rank):
    images, labels = batch()
    scores = SegmentationScores(CLASSES)
    for index in range(rank, 3, 2):  # three images: two on the first process, one on the second
        scores.update((images[index, :1] * CLASSES).long(), labels[index, None])
    return scores.compute()["iou"].numpy()


def test_scores_are_the_same_exactly_whatever_the_number_of_processes(tmp_path):
    images, labels = batch()
    scores = SegmentationScores(CLASSES)
    scores.update((images[:3, 0] * CLASSES).long(), labels[:3])
    assert (in_two_processes(score_half, tmp_path / "group") == scores.compute()["iou"].numpy()).all()


def hardest(rank):
    with batch_of_all_processes():
        return [hardest_of_batch(torch.arange(10.0) * 2 + rank, count).item() for count in (1, 2, 5, 20, 99)]


def test_the_hardest_pixels_are_those_of_the_whole_batch(tmp_path):
    # 0, 2 … 18 on one process and 1, 3 … 19 on the other
    assert in_two_processes(hardest, tmp_path / "group") == [19, 18, 15, 0, 0]
    assert hardest_of_batch(torch.tensor([3.0, 1.0, 2.0]), 2).item() == 2


def test_shared_norms_are_what_they_were_in_one_process():
    model = create_model("fcn", backbone="test_efficientnet", num_classes=3, channels=8, output_stride=32)
    images = torch.rand(2, 3, 64, 64)
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def outputs():
        model.load_state_dict(start)
        torch.manual_seed(0)  # of dropout
        return [model.train(mode)(images).logits for mode in (True, False)]

    before = outputs()
    synchronise_norms(model)
    synchronise_norms(model)  # once more does no harm
    assert list(model.state_dict()) == list(start)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(type(norm).__name__.startswith("Shared") for norm in norms)
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(), strict=True))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])  # plain norms, and timm's that activate
def test_fused_norms_of_gpus_have_the_same_parameters_and_compute_the_same(backbone):
    """What a CPU can show: in one process they normalise as the layers that they replace."""

    def outputs(model):
        torch.manual_seed(0)
        logits = model(batch()[0]).logits
        return logits, model.eval()(batch()[0]).logits

    start, model = model_of("decoupled", backbone), model_of("decoupled", backbone)
    synchronise_norms(model, fused=True)
    assert not [norm for norm in model.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    assert [norm for norm in model.modules() if isinstance(norm, torch.nn.SyncBatchNorm)]
    for one, other in zip(outputs(model), outputs(start), strict=True):
        torch.testing.assert_close(one, other)
    assert differences(dict(model.state_dict()), dict(start.state_dict())) == []


def test_a_norm_of_a_kind_that_timm_does_not_know_stays_what_it_is():
    class Twice(torch.nn.BatchNorm2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = torch.nn.Sequential(Twice(3))
    synchronise_norms(model, fused=True)
    assert isinstance(model[0], Twice)


@pytest.mark.slow
def test_torchrun_trains_one_model_in_copies_and_in_shards(tiny, tmp_path):
    """The command of docs/scale.md, on two processes; shards are stopped half-way, and go on as copies would have."""
    changes = ["train.accelerator=cpu", "train.batch_size=4", "train.optimizer=sgd", "model.output_stride=16"]

    def start(name, strategy, *options, steps="null"):
        recipe = tiny(*changes, f"train.strategy={strategy}", f"train.max_steps={steps}")
        save_recipe(recipe, tmp_path / f"{name}.yaml")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
        command += ["-m", "crispseg", "fit", str(tmp_path / f"{name}.yaml"), "--out", str(tmp_path / name), *options]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stdout + done.stderr

    start("copies", "ddp")
    start("shards", "fsdp")
    copies, shards = checkpoint_of(tmp_path / "copies"), checkpoint_of(tmp_path / "shards")
    assert copies["global_step"] == shards["global_step"] == 4
    for name, values in copies["state_dict"].items():
        torch.testing.assert_close(shards["state_dict"][name], values, rtol=1e-4, atol=1e-5, msg=name)
    assert [line["epoch"] for line in log_of(tmp_path / "shards")] == [1, 2]
    images = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        outputs = [load_model(tmp_path / name)(images).logits for name in ("copies", "shards")]
    torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-4)

    again = tmp_path / "shards" / "checkpoints"
    (again / "previous.ckpt").replace(again / "last.ckpt")  # as it was after the first epoch
    start("shards", "fsdp", "--resume")
    assert differences(checkpoint_of(tmp_path / "shards")["state_dict"], shards["state_dict"]) == []
