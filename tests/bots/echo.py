import asyncio

from langchain_core.messages import AIMessageChunk
from langflow.custom import Component
from langflow.io import MessageTextInput, Output
from langflow.schema.message import Message


class Echo(Component):
    display_name = "Echo"
    inputs = [MessageTextInput(name="input_value", display_name="Question")]
    outputs = [Output(name="answer", display_name="Answer", method="answer")]

    def answer(self) -> Message:
        question = self.input_value

        async def words():
            yield AIMessageChunk(content="You asked:")
            for word in question.split(" "):
                await asyncio.sleep(0.05)
                yield AIMessageChunk(content=" " + word)

        return Message(text=words())
