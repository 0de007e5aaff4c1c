package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	shownViolations = 3  // of many, the first are enough
	shownEvents     = 25 // before and after each
)

// Verify fails the test if the history shows a violation, with the timeline
// around the first of them.
func (r *Recorder) Verify(t *testing.T) []Op {
	t.Helper()
	ops, err := r.Ops()
	if err != nil {
		t.Errorf("the history has gaps: %v", err)
	}
	found := Check(ops, r.Losses()...)
	places, spans := r.queued()
	passed, looked := CheckOrder(ops, places, spans)
	if looked > 0 {
		t.Logf("%d holds were looked at for who passed them in the queue", looked)
	}
	found = append(found, passed...)
	for _, v := range found[:min(len(found), shownViolations)] {
		t.Errorf("%v\n%s", v, Timeline(ofLock(ops, v.Lock), r.Notes(), v.At, shownEvents))
	}
	if len(found) > shownViolations {
		t.Errorf("and %d more violations", len(found)-shownViolations)
	}
	return ops
}

func ofLock(ops []Op, lock string) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Lock != lock })
}

// Timeline writes what happened around that time, n events before and after it,
// one a line: the time since the history began, the event, and what was held
// from then on.
func Timeline(ops []Op, notes []Note, around time.Duration, n int) string {
	type event struct {
		at    time.Duration
		text  string
		op    Op
		begin bool
	}
	var events []event
	for _, o := range ops {
		end := "ends    "
		if !o.lasted() {
			end = "is void "
		}
		events = append(events, event{o.From, "begins  " + o.String(), o, true}, event{o.To, end + o.String(), o, false})
	}
	for _, note := range notes {
		events = append(events, event{at: note.At, text: "------- " + note.Process + " is " + note.Text})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	if len(events) == 0 {
		return "(nothing happened)\n"
	}
	middle, _ := slices.BinarySearchFunc(events, around, func(e event, at time.Duration) int { return cmp.Compare(e.at, at) })
	var held int64
	var out strings.Builder
	for i, e := range events {
		if e.op.lasted() {
			if e.begin {
				held += e.op.Weight
			} else {
				held -= e.op.Weight
			}
		}
		if i < middle-n || i > middle+n {
			continue
		}
		mark := ' '
		if e.at == around {
			mark = '>'
		}
		fmt.Fprintf(&out, "%c %12.6f s  held %-4d %s\n", mark, (e.at - events[0].at).Seconds(), held, e.text)
	}
	return out.String()
}
