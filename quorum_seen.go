package holdfast

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// What Inspect and ForceRelease do with a lock on a majority: ask one server after
// the other, each for a short time, and make of the answers what they come to.

// at is the lock as one of its servers has it.
func (k *Core) at(c *Client) *Core {
	one := *k
	one.client = c
	return &one
}

// ofEach calls f for each server, and returns how many answered and what the
// others' errors were.
func (k *Core) ofEach(ctx context.Context, f func(ctx context.Context, one *Core) error) (answered int, failure error) {
	for i, c := range k.nodes {
		soon, cancel := context.WithTimeout(ctx, attemptWait)
		err := f(soon, k.at(c))
		cancel()
		if err != nil {
			failure = also(failure, &serverError{number: i + 1, err: err})
		} else {
			answered++
		}
	}
	return answered, failure
}

// inspectAll is Inspect. Each ID is one holder, whose weight is the number of
// servers that it has.
func (k *Core) inspectAll(ctx context.Context) (*State, error) {
	all := &State{Kind: k.kind.Name, Name: k.name}
	left := map[Holder][]time.Duration{} // of each holder, on each server that it has
	answered, failure := k.ofEach(ctx, func(ctx context.Context, one *Core) error {
		s, err := one.inspect(ctx)
		if err != nil {
			return err
		}
		for _, h := range s.Holders {
			all.Used++
			remaining := h.Remaining
			h.Token, h.Weight, h.Remaining = 0, 0, 0
			left[h] = append(left[h], remaining)
		}
		return nil
	})
	if answered < k.majority() {
		return nil, fmt.Errorf("holdfast: %q not inspected: %d of %d servers answered: %w", k.name, answered, len(k.nodes), failure)
	}
	for h, times := range left {
		h.Weight = int64(len(times))
		slices.Sort(times)
		h.Remaining = times[max(0, len(times)-k.majority())] // then it has no majority, if it has one now
		all.Holders = append(all.Holders, h)
	}
	slices.SortFunc(all.Holders, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Remaining, b.Remaining), cmp.Compare(a.ID, b.ID))
	})
	all.HolderCount = len(all.Holders)
	return all, nil
}

// evictAll is ForceRelease.
func (k *Core) evictAll(ctx context.Context, id string) error {
	had := 0
	answered, failure := k.ofEach(ctx, func(ctx context.Context, one *Core) error {
		done, err := one.evictOnce(ctx, id)
		if done {
			had++
		}
		return err
	})
	switch {
	case answered < k.majority():
		return fmt.Errorf("holdfast: forced release of %q: %d of %d servers answered: %w", k.name, answered, len(k.nodes), failure)
	case had == 0:
		return k.notHeld(id)
	}
	return nil
}

// evictedWhole takes in that a server took its part away by force, which is done
// on all servers: the lease need not wait for the others to say so.
func (h *hold) evictedWhole() {
	h.mu.Lock()
	if h.state != held {
		h.mu.Unlock()
		return
	}
	h.endAndRelease(h.forced())
}

// evictedPart ends a part that was taken away by force while its whole was not held
// yet: it must not count towards a majority.
func (h *hold) evictedPart(token int64) {
	h.mu.Lock()
	if h.state != held || h.token != token { // the whole was held, and has left it
		h.mu.Unlock()
		return
	}
	why := h.forced()
	h.failure = h.named(why)
	h.endAndRelease(why)
	h.changed()
}
