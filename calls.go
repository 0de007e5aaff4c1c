package holdfast

import (
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/lua"
)

// Arguments that many calls have, boxed once.
var (
	none   any = ""
	noTime any = "0"
)

// bind prepares what the calls of a lock have in common.
func (k *Core) bind() {
	k.allKeys = []any{k.keys.Lock, k.keys.Queue, k.keys.Token}
	k.holdKeys = k.allKeys[:1] // what tells who holds
	if k.kind.Owned {
		k.allKeys = append(k.allKeys, k.keys.Shares)
		k.holdKeys = []any{k.keys.Lock, k.keys.Shares}
	}
	k.laneKey.lock = k.keys.Lock
	k.lease = strconv.FormatInt(k.set.ttl.Milliseconds(), 10)
	request := k.requestFor("")
	k.request = request
	if k.local = k.kind.Passes && k.set.renew && k.set.minHold == 0 && k.set.replicas == 0; k.local {
		k.laneKey = laneKey{lock: k.keys.Lock, request: request, maxHold: k.set.maxHold, backOff: k.set.backOff}
	}
	first := pace{ceiling: k.set.ttl / 3}
	k.interval = first.next(k.set.backOff)
	k.liveness = liveness(k.interval).Milliseconds()
}

// requestFor writes what a grant must know of an acquisition: see lua/base.lua
// and the file of each kind. An owner stands behind its length, since it may be
// any text.
func (k *Core) requestFor(owner string) string {
	parts := []string{k.lease.(string), keys.Inbox(k.client.id)} //nolint:forcetypeassert,errcheck // bind has set it
	switch {
	case k.kind.Owned:
		parts = append(parts, strconv.Itoa(len(owner)), owner)
	case k.kind.Shared:
		parts = append(parts, strconv.FormatInt(k.weight, 10), strconv.FormatInt(k.limit, 10))
	}
	return strings.Join(append(parts, k.set.holder), " ")
}

// request is what requestFor wrote, as far as people want to know it.
type request struct {
	owner, holder string
	weight        int64
}

// read takes a request apart. One that another version wrote is read as far as
// it goes.
func (k *Core) read(text string) request {
	r := request{weight: 1}
	next := func() (word string) {
		word, text, _ = strings.Cut(text, " ")
		return word
	}
	next() // lease
	next() // inbox
	switch {
	case k.kind.Owned:
		if n, err := strconv.Atoi(next()); err == nil && n >= 0 && n < len(text) {
			r.owner, text = text[:n], text[n+1:]
		}
	case k.kind.Shared:
		r.weight, _ = strconv.ParseInt(next(), 10, 64) // 0 if it is no number
		next()                                         // limit
	}
	r.holder = text
	return r
}

func (h *hold) acquireCall(mode, liveness any) *lua.Call {
	k := h.core
	return lua.NewCall(k.kind.Acquire, k.allKeys, h.id, h.request, k.lease, mode, liveness)
}

func (h *hold) renewCall() *lua.Call {
	return h.core.replicated(lua.NewCall(h.core.kind.Renew, h.core.holdKeys, h.id, h.core.lease, h.request))
}

func (h *hold) dropCall() *lua.Call {
	return lua.NewCall(h.core.kind.Drop, h.core.holdKeys, h.id, h.request)
}

func (k *Core) pumpCall() *lua.Call { return lua.NewCall(k.kind.Pump, k.allKeys) }

func (k *Core) inspectCall(most int) *lua.Call {
	return lua.NewCall(k.kind.Inspect, k.allKeys, most)
}

func (k *Core) evictCall(id, request string) *lua.Call {
	if k.kind.Owned {
		return lua.NewCall(k.kind.Evict, k.allKeys, id, request, k.channel)
	}
	return lua.NewCall(k.kind.Evict, k.allKeys, id, request)
}

func (h *hold) releaseCall() *lua.Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.releaseCallLocked()
}

// releaseCallLocked makes the call that ends whatever the hold has. With h.mu.
func (h *hold) releaseCallLocked() *lua.Call {
	rest := noTime
	if d := h.rest(); d > 0 {
		rest = strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10)
	}
	return h.endingCall(h.grave(), rest)
}

// grave is for how long a tombstone must stay: a copy of the first acquire may
// come later than what ends it, if one was not answered. With h.mu.
func (h *hold) grave() any {
	if !h.unanswered {
		return noTime
	}
	return strconv.FormatInt((h.core.set.ttl + tombstone).Milliseconds(), 10)
}

// endingCall ends the hold. With h.mu.
func (h *hold) endingCall(grave, rest any) *lua.Call {
	k := h.core
	switch {
	case k.kind.Owned:
		return lua.NewCall(k.kind.Release, k.allKeys, h.id, h.request, grave, rest, k.channel)
	case k.kind.Shared:
		return lua.NewCall(k.kind.Release, k.allKeys, h.id, h.request, grave, rest, h.heavier)
	}
	used := noTime
	if token := h.lastToken(); token > 0 {
		used = strconv.FormatInt(token, 10)
	}
	return lua.NewCall(k.kind.Release, k.allKeys, h.id, h.request, grave, rest, used)
}

// What package locktest takes leases away with: set here, once, since only this
// package can look into a Lease.
var _ = func() bool {
	kind.Ending = func(lease any) *lua.Call {
		l, ok := lease.(*Lease)
		if !ok || l.zero() {
			return nil
		}
		l.t.hold.mu.Lock()
		defer l.t.hold.mu.Unlock()
		return l.t.hold.endingCall(noTime, noTime)
	}
	return true
}()

// rest is for how long the lock stays taken after its release. With h.mu.
func (h *hold) rest() time.Duration {
	if !h.leased {
		return 0
	}
	return max(0, h.core.set.minHold-time.Since(h.acquired))
}
