package faultproxy

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
)

// conn is one connection of a client, and the one to the server that belongs to it.
type conn struct {
	proxy  *Proxy
	id     int64
	client net.Conn
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	wake   chan struct{} // tells the writer that out or ended has changed

	setup [][]byte // requests that prepared the connection; only up uses it

	// Guarded by proxy.mu.
	server     net.Conn // nil until dialled
	pubsub     bool     // has sent SUBSCRIBE
	awaited    queue    // requests without their reply yet
	out        []byte   // for the client
	heldPushes [][]byte
	muted      bool // nothing more is for the client
	ended      bool // out is the last that the client gets
}

func newConn(p *Proxy, client net.Conn) *conn {
	ctx, cancel := context.WithCancel(p.ctx)
	return &conn{proxy: p, client: client, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1)}
}

// run serves the connection until it is closed.
func (c *conn) run() {
	server, err := c.dial()
	if err != nil {
		c.close()
		return
	}
	c.proxy.wg.Go(func() { c.down(server) })
	c.proxy.wg.Go(c.write)
	c.up(server)
}

func (c *conn) dial() (*net.TCPConn, error) {
	var d net.Dialer
	dialled, err := d.DialContext(c.ctx, "tcp", c.proxy.target)
	if err != nil {
		return nil, err
	}
	server, ok := dialled.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("faultproxy: not TCP"), dialled.Close())
	}
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	if err := c.ctx.Err(); err != nil { // closed meanwhile
		return nil, errors.Join(err, server.Close())
	}
	c.server = server
	return server, nil
}

func (c *conn) close() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.closeLocked()
}

func (c *conn) closeLocked() {
	c.cancel()
	_ = c.client.Close() // it may be closed already, and so below
	if c.server != nil {
		_ = c.server.Close()
	}
	delete(c.proxy.conns, c)
}

// up passes requests on to the server. At their end it closes its side only: the
// server still executes what it has got, and ends the connection after that.
func (c *conn) up(server *net.TCPConn) {
	br := bufio.NewReader(c.client)
	for {
		v, err := readRequest(br)
		if err != nil {
			break
		}
		if !c.request(server, v) {
			return
		}
	}
	if c.passHole(&c.proxy.upBlocked) {
		_ = server.CloseWrite() // an error means that it is closed altogether
	}
}

// passHole waits until a direction is not blocked, and returns false if the
// connection is closed before.
func (c *conn) passHole(blocked *bool) bool {
	return c.proxy.await(c.ctx, func() bool { return !*blocked }) == nil
}

// request applies the rules to one request and passes it on. It returns false when
// the connection is over.
func (c *conn) request(server net.Conn, v value) bool {
	cmd := newCommand(c.id, v.elems)
	c.note(cmd, v.raw)
	matched := c.proxy.matching(cmd)
	for _, r := range matched {
		switch r.action.kind {
		case pass:
			r.act(func() {})
		case holdRequest:
			if r.hold(c.ctx) != nil {
				return false
			}
		case cutBeforeForward:
			r.act(c.closeLocked)
			return false
		case duplicateLate:
			r.act(func() { r.keep(c.setup, v.raw) })
		case replyError:
			r.act(func() { c.answer(r.action.reply) })
			return true
		case holdReply, swallowReplyThenClose, swallowReplyThenHang: // when the reply comes
		}
	}
	if !c.passHole(&c.proxy.upBlocked) {
		return false
	}
	c.expectReply(cmd, matched)
	_, err := server.Write(v.raw)
	return err == nil
}

// note keeps in mind what concerns the connection as a whole.
func (c *conn) note(cmd Command, raw []byte) {
	if slices.Contains([]string{"HELLO", "AUTH", "SELECT"}, cmd.Name) {
		c.setup = append(c.setup, raw)
	}
	if _, adds, ok := subscription(cmd.Name); ok && adds {
		c.proxy.mu.Lock()
		c.pubsub = true
		c.proxy.mu.Unlock()
	}
}

// down passes replies and messages on to the client.
func (c *conn) down(server net.Conn) {
	br := bufio.NewReader(server)
	for {
		v, err := readValue(br)
		if err != nil {
			c.proxy.mu.Lock()
			c.end()
			c.proxy.mu.Unlock()
			return
		}
		if channel, ok := messageChannel(v, c.subscribed()); ok {
			c.push(v.raw, channel)
		} else if !c.reply(v) {
			return
		}
	}
}

// reply applies the rules of the request that v belongs to, and passes it on. It
// returns false when the connection is over.
func (c *conn) reply(v value) bool {
	ex, rules := c.claimReply(v)
	for _, r := range rules {
		switch r.action.kind {
		case holdReply:
			if r.hold(c.ctx) != nil {
				return false
			}
		case swallowReplyThenClose:
			r.act(c.end)
			return false
		case swallowReplyThenHang:
			r.act(func() { c.muted = true })
		case pass, holdRequest, cutBeforeForward, duplicateLate, replyError: // acted on the request
		}
	}
	c.settleReply(ex, v)
	return true
}

// write writes to the client what is ready for it.
func (c *conn) write() {
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		if !c.passHole(&c.proxy.downBlocked) {
			return
		}
		out, ended := c.takeOut()
		if _, err := c.client.Write(out); err != nil {
			// The client has gone, but requests of its may still be under way up.
			c.mute()
		}
		if ended {
			c.close()
			return
		}
	}
}

// deliver hands bytes to the writer. The caller holds mu.
func (c *conn) deliver(raw []byte) {
	if !c.muted {
		c.out = append(c.out, raw...)
		c.wakeWriter()
	}
}

func (c *conn) takeOut() (out []byte, ended bool) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	out, c.out = c.out, nil
	return out, c.ended
}

func (c *conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default: // it has not seen the last wake-up yet
	}
}

// mute drops what comes for the client from now on.
func (c *conn) mute() {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.muted = true
}

// end closes the connection after the client has been given what is left for it.
// The caller holds mu.
func (c *conn) end() {
	c.muted, c.ended = true, true
	c.wakeWriter()
}

func (c *conn) subscribed() bool {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	return c.pubsub
}
