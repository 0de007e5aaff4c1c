package holdfast

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

// count is how the servers stand to an acquisition.
type count struct {
	until   []time.Time    // of those that gave it: until when they certainly keep it
	refused []lua.Acquired // who has the others
	silent  int            // have not answered yet
	failed  int
	lasting int // of those, for a reason that will stay
	failure error
}

// count takes stock of the parts. With h.mu.
func (h *hold) count() count {
	var c count
	for _, n := range h.parts {
		n.mu.Lock()
		switch {
		case n.state == held || n.timedOut():
			c.until = append(c.until, n.deadline) // a time that has passed, if it is over
		case n.part.refused:
			c.refused = append(c.refused, n.part.answer)
		case n.failure != nil:
			c.failed++
			if lua.FailureOf(n.failure) == lua.Lasting {
				c.lasting++
			}
			c.failure = also(c.failure, n.failure)
		case n.state == waiting:
			c.silent++
		}
		n.mu.Unlock()
	}
	slices.SortFunc(c.until, func(a, b time.Time) int { return b.Compare(a) })
	return c
}

// deadline is until when a majority keeps the lock: the time at which the server
// that completes it may let it go. Zero: there is none.
func (c *count) deadline(k *Core) time.Time {
	if len(c.until) < k.majority() {
		return time.Time{}
	}
	return c.until[k.majority()-1]
}

// decided tells whether waiting for those that are silent makes no difference.
func (c *count) decided(k *Core) bool {
	return c.silent == 0 || len(c.until)+c.silent < k.majority()
}

// judge says why a try failed: who is in the way, and what else is; and whether
// another one must fail, too.
func (c *count) judge(k *Core) (n news, hopeless bool, failure error) {
	all, need := len(k.nodes), k.majority()
	missing := c.failed + c.silent
	spare := all - need // as many may refuse
	failure = c.failure
	if c.silent > 0 {
		failure = also(failure, fmt.Errorf("%d of %d servers did not answer", c.silent, all))
	}
	switch {
	case len(c.refused) > spare:
		failure = nil // those that did not answer would have made no difference
		if _, votes := c.holder(); votes+missing < need {
			failure = fmt.Errorf("nobody has a majority of the %d servers", all)
		}
	case failure != nil:
		failure = fmt.Errorf("of %d servers %d gave it, %d refused, %d failed: %w",
			all, len(c.until), len(c.refused), missing, failure)
	default: // a majority gave it too late to be of use
		failure = errTooLate
	}
	n = news{failure: failure}
	if len(c.refused) > 0 {
		n = news{answer: c.answer(need), at: time.Now()}
	}
	return n, c.lasting > spare, failure
}

// answer puts what the servers said that are held into one.
func (c *count) answer(need int) lua.Acquired {
	a := lua.Acquired{Status: lua.Busy}
	a.Holder, _ = c.holder()
	for _, r := range c.refused {
		a.Places = max(a.Places, r.Places)
	}
	// A majority could be free once enough of them are: those without an end last.
	// Where too few have answered it is no earlier than that.
	slices.SortFunc(c.refused, earlier)
	a.Remaining = c.refused[min(need-len(c.until), len(c.refused))-1].Remaining
	return a
}

// earlier compares by the end of the holder's lease.
func earlier(a, b lua.Acquired) int {
	switch {
	case a.Endless == b.Endless:
		return int(a.Remaining - b.Remaining)
	case a.Endless:
		return 1
	}
	return -1
}

// holder is who holds most of the servers, and how many. Of several that hold as
// many it is the one whose lease ends first.
func (c *count) holder() (name string, votes int) {
	slices.SortFunc(c.refused, earlier)
	by := map[string]int{}
	for _, r := range c.refused {
		by[r.Holder]++
	}
	for _, r := range c.refused {
		if by[r.Holder] > votes {
			name, votes = r.Holder, by[r.Holder]
		}
	}
	return name, votes
}

// also puts two failures into one line.
func also(a, b error) error {
	if a == nil || b == nil || strings.Contains(a.Error(), b.Error()) {
		return both(a, b)
	}
	return fmt.Errorf("%w; %w", a, b)
}
