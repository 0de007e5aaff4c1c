package history_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// op is a hold whose owner is its own.
func op(number int, from, to time.Duration, weight, limit, token int64) history.Op {
	id := fmt.Sprintf("id-%d", number)
	return history.Op{
		Process: "p", Number: number, Owner: id, ID: id,
		From: from, To: to, Weight: weight, Limit: limit, Token: token,
	}
}

func owned(o history.Op, owner string) history.Op {
	o.Owner = owner
	return o
}

func named(o history.Op, id string) history.Op {
	o.ID = id
	return o
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const all = holdfast.All
	for name, c := range map[string]struct {
		ops  []history.Op
		want string // "" if there is nothing wrong
	}{
		"empty":                {nil, ""},
		"one after the other":  {[]history.Op{op(1, 10, 20, 1, 1, 5), op(2, 20, 30, 1, 1, 6)}, ""},
		"two holders":          {[]history.Op{op(1, 10, 20, 1, 1, 5), op(2, 19, 30, 1, 1, 6)}, "2 held of 1"},
		"one inside another":   {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 20, 30, 1, 1, 6)}, "2 held of 1"},
		"two of the same time": {[]history.Op{op(1, 10, 20, 1, 1, 5), op(2, 10, 20, 1, 1, 6)}, "2 held of 1"},
		"up to the limit":      {[]history.Op{op(1, 10, 90, 2, 5, 5), op(2, 20, 80, 2, 5, 6), op(3, 30, 40, 1, 5, 7), op(4, 40, 50, 1, 5, 8)}, ""},
		"beyond the limit":     {[]history.Op{op(1, 10, 90, 2, 5, 5), op(2, 20, 80, 2, 5, 6), op(3, 30, 41, 1, 5, 7), op(4, 40, 50, 1, 5, 8)}, "6 held of 5"},
		"the larger limit":     {[]history.Op{op(1, 10, 90, 2, 5, 5), op(2, 20, 80, 2, 4, 6), op(3, 30, 40, 1, 4, 7)}, ""},
		"beyond both limits":   {[]history.Op{op(1, 10, 90, 2, 5, 5), op(2, 20, 80, 2, 4, 6), op(3, 30, 40, 2, 4, 7)}, "6 held of 5"},
		"readers together":     {[]history.Op{op(1, 10, 90, 1, all, 5), op(2, 20, 80, 1, all, 6), op(3, 90, 99, all, all, 7)}, ""},
		"a writer not alone":   {[]history.Op{op(1, 10, 90, 1, all, 5), op(2, 20, 80, 1, all, 6), op(3, 89, 99, all, all, 7)}, "1000000001 held of 1000000000"},
		"a void hold":          {[]history.Op{op(1, 10, 90, 1, 1, 5), op(2, 60, 50, 1, 1, 6)}, ""},

		"a lower token later":        {[]history.Op{op(1, 10, 20, 1, 1, 6), op(2, 20, 30, 1, 1, 5)}, "a lower token after a higher one"},
		"a lower token much later":   {[]history.Op{op(1, 10, 20, 1, 1, 9), op(2, 20, 30, 1, 1, 10), op(3, 40, 50, 1, 1, 8)}, "a lower token after a higher one"},
		"tokens of those together":   {[]history.Op{op(1, 10, 30, 1, 2, 6), op(2, 20, 40, 1, 2, 5)}, ""},
		"tokens of those that could": {[]history.Op{op(1, 10, 20, 1, 2, 6), op(2, 20, 40, 1, 2, 5)}, ""},
		"a light one after a heavy":  {[]history.Op{op(1, 10, 20, 2, 2, 6), op(2, 20, 40, 1, 2, 5)}, "a lower token after a higher one"},
		"a writer after a reader":    {[]history.Op{op(1, 10, 20, 1, all, 6), op(2, 20, 40, all, all, 5)}, "a lower token after a higher one"},
		"a token twice":              {[]history.Op{op(1, 10, 30, 1, 2, 6), op(2, 20, 40, 1, 2, 6)}, "one token for two"},
		"no token":                   {[]history.Op{op(1, 10, 30, 1, 2, 0)}, "no token"},
		"an id twice":                {[]history.Op{op(1, 10, 30, 1, 2, 6), named(op(2, 40, 50, 1, 2, 7), "id-1")}, "one id"},

		"an owner again":                 {[]history.Op{owned(op(1, 10, 50, 1, 1, 6), "a"), owned(op(2, 20, 60, 1, 1, 6), "a"), op(3, 60, 70, 1, 1, 7)}, ""},
		"an owner and another":           {[]history.Op{owned(op(1, 10, 50, 1, 1, 6), "a"), owned(op(2, 20, 60, 1, 1, 6), "a"), op(3, 55, 70, 1, 1, 7)}, "2 held of 1"},
		"an owner with two tokens":       {[]history.Op{owned(op(1, 10, 50, 1, 1, 6), "a"), owned(op(2, 20, 60, 1, 1, 7), "a")}, "two tokens of one owner"},
		"an owner with a later token":    {[]history.Op{owned(op(1, 10, 50, 1, 1, 6), "a"), owned(op(2, 70, 80, 1, 1, 7), "a")}, ""},
		"an owner with a token of old":   {[]history.Op{owned(op(1, 10, 50, 1, 1, 6), "a"), owned(op(2, 70, 80, 1, 1, 5), "a")}, "a lower token after a higher one"},
		"a writer that becomes reader":   {[]history.Op{owned(op(1, 10, 50, all, all, 6), "w"), owned(op(2, 51, 80, 1, all, 6), "w"), op(3, 50, 90, 1, all, 7)}, ""},
		"a writer beside what it became": {[]history.Op{owned(op(1, 10, 50, all, all, 6), "w"), owned(op(2, 51, 80, 1, all, 6), "w"), op(3, 60, 90, all, all, 7)}, "held of 1000000000"},
	} {
		found := history.Check(c.ops)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s: %v", name, found)
		case c.want != "" && len(found) == 0:
			t.Errorf("%s: not found: %s", name, c.want)
		case c.want != "" && !strings.Contains(found[0].Text, c.want):
			t.Errorf("%s: %v instead of %s", name, found, c.want)
		}
	}
}

// TestCheckFindsOne plants one violation in each of many long histories that a
// true semaphore would show, and looks for it; without, there must be none.
func TestCheckFindsOne(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same histories each time
	for range 200 {
		ops := serve(random, 5, 300)
		if found := history.Check(ops); len(found) > 0 {
			t.Fatalf("in a true history: %v", found[0])
		}
		victim := &ops[random.IntN(len(ops)-20)+10]
		switch random.IntN(3) {
		case 0: // it goes on although its room was given to others
			victim.To += time.Second
			victim.Weight = victim.Limit
		case 1: // an old token
			victim.Token = 1
			victim.Weight = victim.Limit
		case 2:
			victim.Token = ops[0].Token
		}
		if found := history.Check(ops); len(found) == 0 {
			t.Fatalf("not found: %v", victim)
		}
	}
}

// serve is the history of a semaphore that grants in order.
func serve(random *rand.Rand, limit int64, n int) []history.Op {
	var ops []history.Op
	var clock time.Duration
	for number := range n {
		weight := 1 + random.Int64N(limit)
		for {
			var held int64
			next := time.Duration(1 << 62)
			for _, o := range ops {
				if o.To > clock {
					held += o.Weight
					next = min(next, o.To)
				}
			}
			if held+weight <= limit {
				break
			}
			clock = next
		}
		hold := time.Millisecond + time.Duration(random.Int64N(int64(5*time.Millisecond)))
		ops = append(ops, op(number, clock+1, clock+hold, weight, limit, int64(number+10)))
		clock += 2
	}
	return ops
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	var r history.Recorder
	a, b, c := op(1, 10, 0, 1, 2, 5), op(2, 20, 0, 1, 2, 6), op(3, 30, 0, 1, 2, 7)
	a.Deadline, b.Deadline, c.Deadline = 100, 200, 300
	for _, o := range []history.Op{a, b, c} {
		r.Begin(o)
	}
	r.End("p", 1, 50, 150, "released")
	if _, err := r.Ops(); err == nil || !strings.Contains(err.Error(), "p#2 is not over") {
		t.Errorf("of a hold that is not over: %v", err)
	}
	r.Killed("another", 60)
	r.Killed("p", 250)
	ops, err := r.Ops()
	if err != nil || len(ops) != 3 {
		t.Fatal(ops, err)
	}
	// Released; dead, but over by its deadline before; dead.
	for i, want := range []time.Duration{50, 200, 250} {
		if ops[i].To != want {
			t.Errorf("%v ends at %d, not %d", ops[i], ops[i].To, want)
		}
	}
	r.End("p", 1, 60, 150, "released")
	if _, err := r.Ops(); err == nil || !strings.Contains(err.Error(), "did not begin") {
		t.Errorf("of a hold that ends twice: %v", err)
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	ops := []history.Op{op(1, 1e9, 3e9, 1, 1, 5), op(2, 2e9, 4e9, 1, 1, 6), op(3, 9e9, 10e9, 1, 1, 7)}
	text := history.Timeline(ops, []history.Note{{At: 25e8, Process: "p", Text: "stopped"}}, 2e9, 2)
	for _, want := range []string{
		">     1.000000 s  held 2    begins  p#2",
		"      1.500000 s  held 2    ------- p is stopped",
		"      2.000000 s  held 1    ends    p#1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "p#3") {
		t.Errorf("what happened much later is in\n%s", text)
	}
}
