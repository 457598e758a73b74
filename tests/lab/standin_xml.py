"""XML of the stand-in's SOAP services: reading, envelopes, faults."""

import xml.parsers.expat

from services import SOAP12

XSI = "http://www.w3.org/2001/XMLSchema-instance"


class Fault(Exception):
    """Ends the request with a SOAP fault of this name."""

    def __init__(self, name, text, code="Server"):
        super().__init__(f"{name}: {text}" if name else text)
        self.code = code


class Refusal(Exception):
    """Ends the request with 400 and counts as a violation."""


class Node:
    """An element: `name` is "{namespace}local"; start and end are its place
    in the request."""
    __slots__ = ("name", "attributes", "text", "children", "start", "end")

    def __init__(self, name, attributes, start):
        self.name, self.attributes, self.start = name, attributes, start
        self.text, self.children, self.end = "", [], start

    def find(self, local):
        return next((c for c in self.children if c.name.endswith("}" + local)), None)

    def all(self, local):
        return [c for c in self.children if c.name.endswith("}" + local)]

    def is_nil(self):
        return self.attributes.get(XSI + "}nil") in ("true", "1")


def parse(body):
    """The tree of an XML text; Fault when it is not well-formed.  What stands
    inside XrML is checked but not kept."""
    parser = xml.parsers.expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    root, stack, opaque = [], [], 0

    def start(name, attributes):
        nonlocal opaque
        if opaque:
            opaque += 1
            return
        if "}" in name:
            name = "{" + name
        else:
            name = "{}" + name
        node = Node(name, attributes, parser.CurrentByteIndex)
        (stack[-1].children if stack else root).append(node)
        stack.append(node)
        if name == "{}XrML":
            opaque = 1

    def end(_name):
        nonlocal opaque
        if opaque > 1:
            opaque -= 1
            return
        opaque = 0
        stack.pop().end = parser.CurrentByteIndex

    def text(data):
        if stack and not opaque:
            stack[-1].text += data

    def doctype(*_):
        raise Fault("", "DTD is prohibited in this XML document.", "Client")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise Fault("", f"Server was unable to read request. ---> {error}", "Client") from error
    return root[0]


def envelope(soap, header, body):
    return ('<?xml version="1.0" encoding="utf-8"?>'
            f'<soap:Envelope xmlns:soap="{soap}" xmlns:xsi="{XSI}"'
            ' xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
            f'{header}<soap:Body>{body}</soap:Body></soap:Envelope>').encode()


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def content_type_of(soap):
    return ("application/soap+xml" if soap == SOAP12 else "text/xml") + "; charset=utf-8"


def fault_body(soap, text, code="Server"):
    text = escape(text)
    if soap == SOAP12:
        code = {"Server": "Receiver", "Client": "Sender"}[code]
        return envelope(soap, "", f"<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value>"
                         f'</soap:Code><soap:Reason><soap:Text xml:lang="en">{text}</soap:Text>'
                         "</soap:Reason></soap:Fault>")
    return envelope(soap, "", f"<soap:Fault><faultcode>soap:{code}</faultcode>"
                     f"<faultstring>{text}</faultstring><detail /></soap:Fault>")
