package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/history"
)

func asked(o history.Op, at time.Duration) history.Op {
	o.Asked = at
	return o
}

func of(o history.Op, lock string) history.Op {
	o.Lock = lock
	return o
}

func lasting(o history.Op, ttl time.Duration) history.Op {
	o.TTL = ttl
	return o
}

// TestCheckLosses: a loss of data excuses the holds that were granted before it,
// those that came after, and nothing else.
func TestCheckLosses(t *testing.T) {
	t.Parallel()
	all := []history.Loss{{At: 50, Token: 8}}
	for name, c := range map[string]struct {
		ops    []history.Op
		losses []history.Loss
		want   string // "" if there is nothing wrong
	}{
		"before and after":       {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 60, 70, 1, 1, 9)}, all, ""},
		"without a loss":         {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 60, 70, 1, 1, 9)}, nil, "2 held of 1"},
		"of another lock":        {[]history.Op{of(op(1, 10, 90, 1, 1, 5), "a"), of(op(2, 60, 70, 1, 1, 9), "a")}, []history.Loss{{Lock: "b", At: 50, Token: 8}}, "2 held of 1"},
		"two locks":              {[]history.Op{of(op(1, 10, 90, 1, 1, 5), "a"), of(op(2, 60, 70, 1, 1, 5), "b")}, nil, ""},
		"both before":            {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 60, 70, 1, 1, 7)}, all, "2 held of 1"},
		"both after":             {[]history.Op{op(1, 55, 90, 1, 1, 9), op(2, 60, 70, 1, 1, 10)}, all, "2 held of 1"},
		"three lives":            {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 60, 95, 1, 1, 9), op(3, 80, 99, 1, 1, 12)}, append(all, history.Loss{At: 75, Token: 11}), ""},
		"heard of late":          {[]history.Op{op(1, 52, 55, 1, 1, 9), asked(op(2, 60, 70, 1, 1, 5), 20)}, all, ""},
		"a token of before":      {[]history.Op{asked(op(1, 60, 70, 1, 1, 5), 51)}, all, "with a token from before"},
		"tokens that began anew": {[]history.Op{asked(op(1, 10, 20, 1, 1, 5), 5), asked(op(2, 60, 70, 1, 1, 1), 55)}, all, "with a token from before"},
		"renewed after it":       {[]history.Op{lasting(op(1, 10, 90, 1, 1, 5), 39)}, all, "held for 40ns after a loss"},
		"to its deadline":        {[]history.Op{lasting(op(1, 10, 90, 1, 1, 5), 40)}, all, ""},
	} {
		found := history.Check(c.ops, c.losses...)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: %v", name, found)
		case c.want != "" && (len(found) == 0 || !strings.Contains(found[0].Text, c.want)):
			t.Errorf("%s: %v instead of %s", name, found, c.want)
		}
	}
}

// TestCheckOrder: A, id-1, is seen in the queue at 20, is granted, and B, id-2,
// too.
func TestCheckOrder(t *testing.T) {
	t.Parallel()
	common := func(o history.Op) history.Op {
		o.Shared = true
		return o
	}
	for name, c := range map[string]struct {
		a, b history.Op
		span history.Span
		want bool
	}{
		"in order":           {asked(op(1, 40, 50, 1, 1, 5), 10), asked(op(2, 60, 70, 1, 1, 6), 30), history.Span{}, false},
		"passed over":        {asked(op(1, 60, 70, 1, 1, 6), 10), asked(op(2, 40, 50, 1, 1, 5), 30), history.Span{}, true},
		"asked before":       {asked(op(1, 60, 70, 1, 1, 6), 10), asked(op(2, 40, 50, 1, 1, 5), 20), history.Span{}, false},
		"an owner of others": {asked(op(1, 60, 70, 1, 1, 6), 10), common(asked(op(2, 40, 50, 1, 1, 5), 30)), history.Span{}, false},
		"a fault":            {asked(op(1, 60, 70, 1, 1, 6), 10), asked(op(2, 40, 50, 1, 1, 5), 30), history.Span{From: 55, To: 99}, false},
		"a fault of another": {asked(op(1, 60, 70, 1, 1, 6), 10), asked(op(2, 40, 50, 1, 1, 5), 30), history.Span{Process: "q", From: 55, To: 99}, true},
		"a fault before":     {asked(op(1, 60, 70, 1, 1, 6), 10), asked(op(2, 40, 50, 1, 1, 5), 30), history.Span{From: 1, To: 9}, true},
		"another lock":       {asked(op(1, 60, 70, 1, 1, 6), 10), of(asked(op(2, 40, 50, 1, 1, 5), 30), "b"), history.Span{}, false},
	} {
		found, _ := history.CheckOrder([]history.Op{c.a, c.b}, []history.Place{{ID: "id-1", At: 20}}, []history.Span{c.span})
		if len(found) > 0 != c.want {
			t.Errorf("%s: %v", name, found)
		}
	}
}
