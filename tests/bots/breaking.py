from langchain_core.messages import AIMessageChunk
from langflow.custom import Component
from langflow.io import MessageTextInput, Output
from langflow.schema.message import Message


class Breaking(Component):
    display_name = "Breaking"
    inputs = [MessageTextInput(name="input_value", display_name="Question")]
    outputs = [Output(name="answer", display_name="Answer", method="answer")]

    def answer(self) -> Message:
        async def words():
            yield AIMessageChunk(content="You ")
            yield AIMessageChunk(content="asked: ")
            raise ValueError("the archive burns")

        return Message(text=words())
