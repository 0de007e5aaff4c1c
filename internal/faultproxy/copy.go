package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// keptRequest is a request that [DuplicateLate] remembers.
type keptRequest struct {
	setup [][]byte // what prepared its connection: HELLO, AUTH, SELECT
	raw   []byte
}

// keep remembers a request. The caller holds mu.
func (r *Rule) keep(setup [][]byte, raw []byte) {
	r.kept = append(r.kept, keptRequest{setup: slices.Clone(setup), raw: raw})
}

// SendCopies sends the server one more copy of each request that this rule, with
// [DuplicateLate], has seen, in order: what a driver's retry may do, or a packet that
// was under way for long, when the sender has gone on. Each copy goes over a
// connection of its own, prepared as the one that the request came from, and past
// the rules and switches of the proxy. When SendCopies returns nil, the server has
// executed them all; the replies are dropped. An error reply, NOSCRIPT say, comes
// back as an error, because it most likely means that the copy changed nothing.
func (r *Rule) SendCopies(ctx context.Context) error {
	r.proxy.mu.Lock()
	kept := slices.Clone(r.kept)
	r.proxy.mu.Unlock()
	if len(kept) == 0 {
		return errors.New("faultproxy: no request to send a copy of")
	}
	for _, k := range kept {
		if err := k.send(ctx, r.proxy.target); err != nil {
			return fmt.Errorf("faultproxy: copy: %w", err)
		}
	}
	return nil
}

func (k keptRequest) send(ctx context.Context, target string) error {
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	defer server.Close() //nolint:errcheck // the reply is all that counts
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()

	br := bufio.NewReader(server)
	for _, request := range append(k.setup, k.raw) {
		if _, err := server.Write(request); err != nil {
			return errors.Join(err, ctx.Err())
		}
		reply, err := readValue(br)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if reply.isError() {
			return fmt.Errorf("the server answered %q", reply.raw)
		}
	}
	return nil
}
