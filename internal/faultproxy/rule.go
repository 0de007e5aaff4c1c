package faultproxy

import (
	"context"
	"fmt"
	"slices"
)

// Action is what a [Rule] does to the requests that it matches.
type Action struct {
	kind  actionKind
	reply string
}

type actionKind int

const (
	pass actionKind = iota
	holdRequest
	holdReply
	swallowReplyThenClose
	swallowReplyThenHang
	cutBeforeForward
	duplicateLate
	replyError
)

var (
	// Pass does nothing. Its rule counts.
	Pass = Action{kind: pass}

	// HoldRequest keeps the request from the server until [Rule.Release]. Requests
	// behind it on the same connection wait too.
	HoldRequest = Action{kind: holdRequest}

	// HoldReply keeps the reply from the client until [Rule.Release]; the server has
	// executed the request. Whatever comes behind it on the same connection waits too.
	HoldReply = Action{kind: holdReply}

	// SwallowReplyThenClose closes the connection in place of the reply: the server
	// has executed the request, the client cannot know. Replies before it are
	// delivered.
	SwallowReplyThenClose = Action{kind: swallowReplyThenClose}

	// SwallowReplyThenHang drops the reply and whatever the server sends later on
	// this connection, which stays open. Requests still reach the server.
	SwallowReplyThenHang = Action{kind: swallowReplyThenHang}

	// CutBeforeForward closes the connection; the server never sees the request.
	// Replies to earlier requests that are still under way are lost.
	CutBeforeForward = Action{kind: cutBeforeForward}

	// DuplicateLate passes the request on and remembers it: [Rule.SendCopies] sends
	// it once more.
	DuplicateLate = Action{kind: duplicateLate}
)

// ReplyError answers the request with an error, such as "LOADING Redis is loading",
// in its turn. The server never sees the request.
func ReplyError(line string) Action { return Action{kind: replyError, reply: line} }

// Rule is in force from [Proxy.Add] until [Rule.Remove]. It is safe for concurrent
// use.
type Rule struct {
	proxy  *Proxy
	match  Matcher
	action Action

	// Guarded by proxy.mu.
	hits     int
	released bool
	kept     []keptRequest
}

// Add puts a rule in force for requests that arrive from now on. When several match
// one request, all of them act, in the order in which they were added: first what
// concerns the request (until one cuts the connection or answers an error), later
// what concerns the reply.
func (p *Proxy) Add(match Matcher, action Action) *Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &Rule{proxy: p, match: match, action: action}
	p.rules = append(p.rules, r)
	return r
}

// Remove takes the rule out of force for requests that have not arrived yet. What
// it holds stays held until [Rule.Release], and what it has matched it still acts
// on.
func (r *Rule) Remove() {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	r.proxy.rules = slices.DeleteFunc(r.proxy.rules, func(other *Rule) bool { return other == r })
}

// Release lets go of what the rule holds. From then on the rule holds nothing, but
// it still counts.
func (r *Rule) Release() {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	r.released = true
	r.proxy.notify()
}

// Hits returns how often the rule has acted: for an action on replies that is when
// the reply has come, so the server has executed the request by then.
func (r *Rule) Hits() int {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	return r.hits
}

// WaitHit waits until the rule has acted once.
func (r *Rule) WaitHit(ctx context.Context) error { return r.WaitHits(ctx, 1) }

// WaitHits waits until the rule has acted n times in all. The error says how often
// it had when ctx ended.
func (r *Rule) WaitHits(ctx context.Context, n int) error {
	if err := r.proxy.await(ctx, func() bool { return r.hits >= n }); err != nil {
		return fmt.Errorf("faultproxy: %d of %d hits: %w", r.Hits(), n, err)
	}
	return nil
}

// act does something and counts it as one action. Both happen under mu, so who has
// seen the effect finds it counted, and the other way round.
func (r *Rule) act(do func()) {
	r.proxy.mu.Lock()
	defer r.proxy.mu.Unlock()
	do()
	r.hits++
	r.proxy.notify()
}

// hold counts one action and waits for Release.
func (r *Rule) hold(ctx context.Context) error {
	r.act(func() {})
	return r.proxy.await(ctx, func() bool { return r.released })
}

// matching returns the rules that match a request.
func (p *Proxy) matching(cmd Command) []*Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	var matched []*Rule
	for _, r := range p.rules {
		if r.match(cmd) {
			matched = append(matched, r)
		}
	}
	return matched
}
