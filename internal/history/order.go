package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// CheckOrder looks for who was passed over: A was seen in the queue, B was asked
// for after that, and B was granted first, which their tokens tell. It also says
// of how many holds that could be looked for.
//
// An A that a fault may have concerned while it waited does not count. It may
// have been given up for dead, and come again under the same id if it never had
// an answer. Nor does an owner that others may have, who enter past the queue; nor
// one whose process is served in turns.
func CheckOrder(ops []Op, places []Place, spans []Span) (found []Violation, looked int) {
	for lock, all := range parted(ops, func(o Op) string { return o.Lock }) {
		seen := make(map[string]time.Duration)
		for _, p := range places {
			if p.Lock == lock {
				seen[p.ID] = p.At
			}
		}
		all = slices.DeleteFunc(all, func(o Op) bool { return o.Shared || o.Turns || o.Asked == 0 })
		slices.SortStableFunc(all, func(a, b Op) int { return cmp.Compare(a.Asked, b.Asked) })
		first := firstGranted(all)
		for _, a := range all {
			at, queued := seen[a.ID]
			if !queued || disturbed(a, spans) {
				continue
			}
			looked++
			later, _ := slices.BinarySearchFunc(all, at+1, func(o Op, at time.Duration) int { return cmp.Compare(o.Asked, at) })
			if later < len(all) && first[later].Token < a.Token {
				b := first[later]
				found = append(found, Violation{Lock: b.Lock, At: b.From, Text: fmt.Sprintf(
					"passed over: %v was seen in the queue, %v later another was asked for, which was granted first: %v", a, b.Asked-at, b)})
			}
		}
	}
	return found, looked
}

// firstGranted is, for each index, the hold with the lowest token from there on.
func firstGranted(ops []Op) []Op {
	first := slices.Clone(ops)
	for i := len(first) - 2; i >= 0; i-- {
		if first[i+1].Token < first[i].Token {
			first[i] = first[i+1]
		}
	}
	return first
}

func disturbed(o Op, spans []Span) bool {
	return slices.ContainsFunc(spans, func(s Span) bool {
		return (s.Process == "" || s.Process == o.Process) && s.From <= o.From && o.Asked <= s.To
	})
}
