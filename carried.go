package holdfast

import (
	"context"
	"slices"

	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/internal/owner"
)

// checkCarried refuses to lock what the caller already holds: it would wait for
// itself. Of a semaphore that is so when what its context carries and what it
// asks for are more than the limit. A reader that wants to write is not refused:
// it waits, as any writer does, for all readers.
func (k *Core) checkCarried(ctx context.Context) error {
	var held int64
	var seen []*hold
	for lc := carried(ctx); lc != nil; lc = carried(lc.Context) {
		if lc.lease.zero() {
			continue
		}
		h := lc.lease.t.hold
		reader := k.kind == kind.RWLock && h.core.weight < h.core.limit
		if h.core.keys.Lock != k.keys.Lock || !k.blockedBy(h) || reader || slices.Contains(seen, h) || lc.lease.t.check() != nil {
			continue
		}
		seen = append(seen, h)
		if held += h.core.weight; held+k.weight > k.limit {
			return invalid("%s %q: the context carries its lease %s, which is in the way", k.kind.Name, k.name, lc.lease.ID())
		}
	}
	return nil
}

// ownerIn is the owner for which ctx locks: the innermost that a program named,
// or that a live lease carries; "" if there is none.
func (k *Core) ownerIn(ctx context.Context) (string, error) {
	name, ok := owner.From(ctx)
	if ok && !isText(name) {
		return "", invalid("%s %q: the owner %.64q is not a text of 1 to %d bytes without control characters",
			k.kind.Name, k.name, name, maxText)
	}
	return name, nil
}
