package faultproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

var errProtocol = errors.New("faultproxy: not the Redis protocol")

// value is one whole RESP2 or RESP3 value as it came over the wire. Of an
// aggregate, elems are the texts of its elements; nested ones are left out as "".
type value struct {
	raw   []byte
	elems []string
}

func (v value) isError() bool { return v.raw[0] == '-' || v.raw[0] == '!' }

// readValue reads one value with everything that belongs to it.
func readValue(br *bufio.Reader) (value, error) {
	var v value
	var err error
	v.raw, err = appendValue(br, nil, &v.elems)
	return v, err
}

// readRequest reads a command: an array of bulk strings.
func readRequest(br *bufio.Reader) (value, error) {
	v, err := readValue(br)
	if err == nil && (v.raw[0] != '*' || len(v.elems) == 0) {
		err = fmt.Errorf("%w: request %.40q", errProtocol, v.raw)
	}
	return v, err
}

// appendValue adds the next value to raw, and the texts of its elements to elems if
// that is not nil.
func appendValue(br *bufio.Reader, raw []byte, elems *[]string) ([]byte, error) {
	line, err := br.ReadBytes('\n')
	if err != nil {
		return raw, err
	}
	if len(line) < 3 {
		return raw, fmt.Errorf("%w: line %q", errProtocol, line)
	}
	raw = append(raw, line...)
	switch line[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		return raw, nil
	case '$', '=', '!':
		return appendBulk(br, raw, line)
	case '*', '~', '>', '%', '|':
		return appendElements(br, raw, line, elems)
	default:
		return raw, fmt.Errorf("%w: line %.40q", errProtocol, line)
	}
}

func appendBulk(br *bufio.Reader, raw, line []byte) ([]byte, error) {
	n, err := count(line)
	if err != nil || n < 0 { // $-1 is nil
		return raw, err
	}
	start := len(raw)
	raw = append(raw, make([]byte, n+len("\r\n"))...)
	_, err = io.ReadFull(br, raw[start:])
	return raw, err
}

func appendElements(br *bufio.Reader, raw, line []byte, elems *[]string) ([]byte, error) {
	n, err := count(line)
	if err != nil {
		return raw, err
	}
	switch line[0] {
	case '%': // pairs
		n *= 2
	case '|': // pairs, then the value that they are attributes of
		n = 2*n + 1
	}
	for range n { // none of *-1, which is nil
		start := len(raw)
		if raw, err = appendValue(br, raw, nil); err != nil {
			return raw, err
		}
		if elems != nil {
			*elems = append(*elems, scalarText(raw[start:]))
		}
	}
	return raw, nil
}

func count(line []byte) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	if err != nil {
		err = fmt.Errorf("%w: length %.40q", errProtocol, line)
	}
	return n, err
}

func scalarText(raw []byte) string {
	switch raw[0] {
	case '$', '=', '!':
		_, rest, _ := strings.Cut(string(raw), "\r\n")
		return strings.TrimSuffix(rest, "\r\n")
	case '*', '~', '>', '%', '|':
		return ""
	default:
		return strings.TrimSuffix(string(raw[1:]), "\r\n")
	}
}

// messageChannel returns the channel if v is a pub/sub message. pubsub tells whether
// the connection has subscribed: in RESP2 a message is an array like any other, and
// only there it cannot be a reply.
func messageChannel(v value, pubsub bool) (string, bool) {
	if len(v.elems) < 3 || (v.raw[0] != '>' && (v.raw[0] != '*' || !pubsub)) {
		return "", false
	}
	switch v.elems[0] {
	case "message", "smessage":
		return v.elems[1], true
	case "pmessage": // pattern, channel, text
		return v.elems[2], true
	default:
		return "", false
	}
}

// confirmation returns the upper-case name of the command that v confirms, or "" if
// it is no confirmation of a subscription.
func confirmation(v value, pubsub bool) string {
	if len(v.elems) != 3 || (v.raw[0] != '>' && (v.raw[0] != '*' || !pubsub)) {
		return ""
	}
	name := strings.ToUpper(v.elems[0])
	if _, _, ok := subscription(name); !ok {
		return ""
	}
	return name
}

// subscription tells for SUBSCRIBE, PUNSUBSCRIBE and the like which kind of
// subscription it is about ("", "P", "S") and whether it adds.
func subscription(name string) (kind string, adds, ok bool) {
	if kind, ok = strings.CutSuffix(name, "UNSUBSCRIBE"); !ok {
		kind, adds = strings.CutSuffix(name, "SUBSCRIBE")
	}
	return kind, adds, (ok || adds) && (kind == "" || kind == "P" || kind == "S")
}
