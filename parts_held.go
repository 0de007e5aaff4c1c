package holdfast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/lua"
	"github.com/holdfast-go/holdfast/watchdog"
)

// How a lease on a majority is renewed by its user, reported and released.

// outcome is what became of the release of a part.
type outcome int

const (
	unconfirmed outcome = iota
	freed
	notOurs
	givenUp // refused for good
)

// silenceOfParts is why so few parts could be renewed; nil if enough could. With h.mu.
func (h *hold) silenceOfParts() error {
	var failure error
	well := 0
	for _, n := range h.parts {
		n.mu.Lock()
		if !n.deadline.IsZero() && n.lostAs() == "" {
			if silence := n.silence(); silence == nil {
				well++
			} else {
				failure = also(failure, n.named(silence))
			}
		}
		n.mu.Unlock()
	}
	if well >= h.core.majority() {
		return nil
	}
	return failure
}

// renewParts is Lease.Renew: a majority must say in this call that the lock is
// still there.
func (h *hold) renewParts(ctx context.Context) error {
	now := time.Now()
	h.mu.Lock()
	limit := min(h.core.set.ttl/6, h.deadline.Sub(now))
	h.mu.Unlock()
	answers := make(chan error, len(h.parts))
	for _, n := range h.parts {
		n.client.dog.Send(watchdog.Send{
			Call:  n.renewCall(),
			Limit: limit,
			Done: func(call *lua.Call) {
				err := n.renewedNow(call, now)
				n.changed()
				answers <- err
			},
		})
	}
	failure := h.awaitRenewals(ctx, limit, answers)
	if err := h.check(); err != nil {
		return err
	}
	return failure
}

// renewedNow takes in the answer of a renewal by the caller.
func (h *hold) renewedNow(call *lua.Call, sent time.Time) error {
	h.mu.Lock()
	never := h.state == waiting
	h.mu.Unlock()
	if never {
		return h.named(errNoAnswer) // only its poll can tell since when it has the lock
	}
	if err := h.extend(call, sent); err != nil {
		return h.named(err)
	}
	return nil
}

// reportPart logs, once, that a server let a part go, or could not be reached to
// renew it, while the lease goes on.
func (h *hold) reportPart() {
	h.mu.Lock()
	first, err := !h.part.reported, h.err
	h.part.reported = true
	h.mu.Unlock()
	if first && errors.Is(err, ErrLost) {
		h.client.warn("a server lost its part of a lease",
			keyKind, h.core.kind.Name, keyName, h.core.name, keyID, h.id, keyError, h.named(err))
	}
}

// awaitRenewals returns nil once a majority has renewed.
func (h *hold) awaitRenewals(ctx context.Context, limit time.Duration, answers <-chan error) error {
	over := time.NewTimer(limit)
	defer over.Stop()
	var failure error
	k := h.core
	for renewed, missed := 0, 0; missed <= len(k.nodes)-k.majority(); {
		select {
		case err := <-answers:
			if err == nil {
				renewed++
			} else {
				missed++
				failure = also(failure, err)
			}
		case <-over.C:
			return also(failure, errUnanswered)
		case <-ctx.Done():
			return also(failure, errUnanswered)
		}
		if renewed == k.majority() {
			return nil
		}
	}
	return failure
}

// releaseParts is Lease.Release, up to the answer.
func (h *hold) releaseParts() error {
	h.startRelease()
	over := time.NewTimer(releaseWait)
	defer over.Stop()
	for timeout := false; ; {
		if decided, err := h.judgeRelease(timeout); decided {
			return err
		}
		select {
		case <-h.ready:
		case <-over.C:
			timeout = true
		}
	}
}

// concluded takes in the answer to the release of a part. Its whole hears of it.
func (h *hold) concluded(r lua.Released, err error) {
	if h.part == nil {
		return
	}
	h.mu.Lock()
	switch {
	case err != nil:
		h.failure = h.named(err)
		if lua.FailureOf(err) == lua.Lasting {
			h.part.outcome = givenUp
		}
		h.doubt = h.doubt || lua.FailureOf(err) == lua.Unknown
	case h.judge(r, h.doubt) == nil:
		h.part.outcome = freed
	default:
		h.part.outcome, h.part.taken = notOurs, r.Taken
	}
	h.mu.Unlock()
	h.changed()
}

// judgeRelease says what Release returns, if that is known or must be: nil once
// a majority has given the lock back; that the lease was lost once so many say
// that it was not ours that the rest is none.
func (h *hold) judgeRelease(must bool) (decided bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.core
	var by [givenUp + 1]int
	var failure error
	taken := false
	for _, n := range h.parts {
		n.mu.Lock()
		o := n.part.outcome
		if o == unconfirmed && (!n.trace || n.lostAs() != "") {
			o = notOurs
		}
		by[o]++
		taken = taken || n.part.taken || n.lostAs() == LostTaken
		if o == unconfirmed || o == givenUp {
			failure = also(failure, n.failure)
		}
		n.mu.Unlock()
	}
	switch {
	case by[freed] >= k.majority():
		return true, nil
	case by[notOurs] > len(k.nodes)-k.majority():
		return true, h.goneReason(lua.Released{Taken: taken})
	case by[unconfirmed] > 0 && !must:
		return false, nil
	case failure == nil:
		failure = errNoAnswer
	}
	return true, fmt.Errorf("holdfast: release of %q: unknown: confirmed by %d of %d servers: %w",
		k.name, by[freed], len(k.nodes), failure)
}
