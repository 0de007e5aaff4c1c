//go:build linux

package torture_test

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// proxy chooses one of the proxies, for a fault of its network.
func (r *round) proxy() *faultproxy.Proxy {
	r.cut = r.random.IntN(len(r.proxies))
	return r.proxies[r.cut]
}

// blackhole lets the network deliver nothing, one way or both. What was sent
// meanwhile is delivered after it, or is lost.
func blackhole(r *round) func() {
	p := r.proxy()
	ways := [][2]bool{{true, false}, {false, true}, {true, true}}
	way, loses := ways[r.random.IntN(len(ways))], r.random.IntN(2) == 0
	p.Blackhole(way[0], way[1])
	return func() {
		if loses {
			p.CutAll()
		}
		p.Heal()
	}
}

// some matches the next few calls of scripts, one in a few.
func (r *round) some() faultproxy.Matcher {
	n := 1 + r.random.IntN(3)
	one := make([]bool, 64) // a matcher is called on other goroutines than the random numbers
	for i := range one {
		one[i] = r.random.IntN(3) == 0
	}
	at := 0
	return faultproxy.First(n, faultproxy.All(faultproxy.IsCommand("EVALSHA", "EVAL"), func(faultproxy.Command) bool {
		at++
		return one[at%len(one)]
	}))
}

// swallow loses single replies, or cuts the connection before a request.
func swallow(r *round) func() {
	actions := []faultproxy.Action{faultproxy.SwallowReplyThenClose, faultproxy.SwallowReplyThenHang, faultproxy.CutBeforeForward}
	rule := r.proxy().Add(r.some(), actions[r.random.IntN(len(actions))])
	return rule.Remove
}

// delay keeps single requests or replies until its end, when who sent them may
// have given up.
func delay(r *round) func() {
	actions := []faultproxy.Action{faultproxy.HoldRequest, faultproxy.HoldReply}
	rule := r.proxy().Add(r.some(), actions[r.random.IntN(len(actions))])
	return func() {
		rule.Remove()
		rule.Release()
	}
}

// copies sends calls of scripts once more in the end. That is more than a driver
// does which never repeats them: who has long gone may be granted a lock for one
// TTL. So the mutexes whose calls are searched for an order are left alone.
func copies(r *round) func() {
	known := make([]string, 0, len(lockNames))
	for _, lock := range lockNames {
		known = append(known, keyOf(lock))
	}
	ofTraffic := func(c faultproxy.Command) bool {
		return slices.ContainsFunc(known, func(key string) bool { return slices.Contains(c.Args, key) })
	}
	rule := r.proxy().Add(faultproxy.All(ofTraffic, r.some()), faultproxy.DuplicateLate)
	return func() {
		rule.Remove()
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
		defer cancel()
		_ = rule.SendCopies(ctx) // there may be none, and the server may be away
	}
}

// messages drops or keeps what the server publishes.
func messages(r *round) func() {
	p := r.proxy()
	if r.random.IntN(2) == 0 {
		p.DropPushes(1 + r.random.IntN(20))
		return func() { p.DropPushes(0) }
	}
	p.HoldPushes()
	return p.ReleasePushes
}
