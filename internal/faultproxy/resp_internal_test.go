package faultproxy

import (
	"bufio"
	"slices"
	"strings"
	"testing"
)

func TestReadValueTakesExactlyOneWholeValue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		raw   string
		elems []string
	}{
		{"+OK\r\n", nil},
		{"-ERR no\r\n", nil},
		{":-12\r\n", nil},
		{"_\r\n", nil},
		{",1.5\r\n", nil},
		{"#t\r\n", nil},
		{"(3492890328409238509324850943850943825024385\r\n", nil},
		{"$5\r\na\r\nb\n\r\n", nil},
		{"$0\r\n\r\n", nil},
		{"$-1\r\n", nil},
		{"*-1\r\n", nil},
		{"!3\r\nERR\r\n", nil},
		{"=7\r\ntxt:abc\r\n", nil},
		{"*0\r\n", nil},
		{"*4\r\n$1\r\na\r\n:1\r\n*2\r\n+x\r\n$-1\r\n$-1\r\n", []string{"a", "1", "", ""}},
		{"~2\r\n#f\r\n_\r\n", []string{"f", ""}},
		{"%1\r\n+k\r\n*1\r\n:1\r\n", []string{"k", ""}},
		{">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n", []string{"message", "c", ""}},
		{"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n", []string{"ttl", "5", "v"}},
	}
	for _, test := range tests {
		br := bufio.NewReader(strings.NewReader(test.raw + "+next\r\n"))
		v, err := readValue(br)
		if err != nil || string(v.raw) != test.raw || !slices.Equal(v.elems, test.elems) {
			t.Errorf("%q: got %q, %q, %v", test.raw, v.raw, v.elems, err)
		}
		if next, err := readValue(br); err != nil || string(next.raw) != "+next\r\n" {
			t.Errorf("after %q: got %q, %v", test.raw, next.raw, err)
		}
		for cut := range len(test.raw) {
			if v, err := readValue(bufio.NewReader(strings.NewReader(test.raw[:cut]))); err == nil {
				t.Errorf("%q: got %q out of a part", test.raw[:cut], v.raw)
			}
		}
	}
}

func TestMessageChannel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		elems   string
		first   byte
		pubsub  bool
		channel string
		want    bool
	}{
		{"message c x", '>', false, "c", true},
		{"smessage c x", '>', true, "c", true},
		{"pmessage p* pc x", '>', true, "pc", true},
		{"message c x", '*', true, "c", true},
		{"message c x", '*', false, "", false}, // a reply that looks like one
		{"subscribe c 1", '>', true, "", false},
		{"invalidate k", '>', true, "", false},
	}
	for _, test := range tests {
		v := value{raw: []byte{test.first}, elems: strings.Fields(test.elems)}
		if got, ok := messageChannel(v, test.pubsub); got != test.channel || ok != test.want {
			t.Errorf("%c %s: got %q, %v", test.first, test.elems, got, ok)
		}
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, kind string
		adds, ok   bool
	}{
		{"SUBSCRIBE", "", true, true},
		{"UNSUBSCRIBE", "", false, true},
		{"PSUBSCRIBE", "P", true, true},
		{"PUNSUBSCRIBE", "P", false, true},
		{"SSUBSCRIBE", "S", true, true},
		{"SUNSUBSCRIBE", "S", false, true},
		{"GET", "", false, false},
		{"XSUBSCRIBE", "", false, false},
	}
	for _, test := range tests {
		kind, adds, ok := subscription(test.name)
		if ok != test.ok || (ok && (kind != test.kind || adds != test.adds)) {
			t.Errorf("%s: got %q, %v, %v", test.name, kind, adds, ok)
		}
	}
}
