from langflow.custom import Component
from langflow.io import MessageTextInput, Output
from langflow.schema.message import Message


class Failing(Component):
    display_name = "Failing"
    inputs = [MessageTextInput(name="input_value", display_name="Question")]
    outputs = [Output(name="answer", display_name="Answer", method="answer")]

    def answer(self) -> Message:
        raise ValueError("the archive burns")
