"""The hand-written configurations say what the contract says."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from alexnet_client import contract
from export.release import CONFIG, PRECISION_FOLDER, SOURCE, configuration
from training.model import VARIANTS, AlexNet

CLASSES = 7


def config(model: str):
    return text_format.Parse(configuration(model, CLASSES, "int8"), model_config_pb2.ModelConfig())


def tensors(entries) -> list[contract.Tensor]:
    names = {"TYPE_UINT8": "UINT8", "TYPE_FP32": "FP32", "TYPE_UINT32": "UINT32", "TYPE_STRING": "BYTES"}
    return [contract.Tensor(e.name, names[model_config_pb2.DataType.Name(e.data_type)], tuple(e.dims)) for e in entries]


PROBABILITIES = contract.Tensor(contract.PROBABILITIES.name, contract.PROBABILITIES.dtype, (CLASSES,))


def test_there_is_a_configuration_for_every_step_one_for_all_precisions_and_no_other() -> None:
    steps = set(contract.MODELS) - set(contract.PRECISION_MODELS)
    assert {path.parent.name for path in SOURCE.glob(f"*/{CONFIG}")} == {PRECISION_FOLDER, *steps}


@pytest.mark.parametrize("model", contract.MODELS)
def test_names_and_limits(model: str) -> None:
    got = config(model)
    assert got.name == model
    assert got.max_batch_size == contract.MAX_BATCH
    assert got.version_policy.latest.num_versions == 1


@pytest.mark.parametrize("model", contract.MODELS.values(), ids=lambda model: model.name)
def test_tensors_and_needs(model: contract.Model) -> None:
    got = config(model.name)
    sized = tuple(PROBABILITIES if tensor == contract.PROBABILITIES else tensor for tensor in model.outputs)
    assert tuple(tensors(got.input)) == model.inputs
    assert tuple(tensors(got.output)) == sized
    steps = [step.model_name for step in got.ensemble_scheduling.step]
    assert steps == [name.format(precision="int8") for name in model.needs]
    labelled = [output.name for output in got.output if output.label_filename]
    assert labelled == [contract.PROBABILITIES.name] * (contract.PROBABILITIES in model.outputs)


@pytest.mark.parametrize("model", contract.PRECISION_MODELS)
def test_precision_models(model: str) -> None:
    got = config(model)
    assert (got.backend, got.platform) == ("", "")  # the artefact decides
    assert got.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert got.dynamic_batching.default_queue_policy.allow_timeout_override
    assert [group.count for group in got.instance_group] == [2]  # one is free when a request arrives
    assert all(tuple(w.inputs[contract.IMAGE.name].dims) == contract.IMAGE.shape for w in got.model_warmup)


def test_the_decoder_refuses_before_the_network_does() -> None:
    decoder, network = config(contract.DECODER), config(contract.PRECISION_MODELS[0])
    limits = [each.dynamic_batching.default_queue_policy.max_queue_size for each in (decoder, network)]
    assert 0 < limits[0] < limits[1]
    assert [group.count for group in decoder.instance_group] == [3]  # one may be busy with a large image


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_networks_embedding_is_as_long_as_the_contract_says(variant: str) -> None:
    assert AlexNet(variant, classes=2).classifier[-1].in_features == contract.EMBEDDING_LENGTH


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'int4': want one of fp32, fp16, int8"):
        contract.precision_model("int4")
