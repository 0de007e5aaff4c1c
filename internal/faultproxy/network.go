package faultproxy

// Blackhole stops all traffic to the server (up), from it (down), or both, as a
// network that delivers nothing. Connections stay open, and new ones are accepted.
// Nothing is lost by it: what is sent meanwhile, and also the end of a connection,
// is delivered after [Proxy.Heal], as TCP would. To lose it, call [Proxy.CutAll]
// before Heal.
//
// Rules sit on the client's side of the hole: they act on requests at once, on
// replies when those come, and what they release waits at the hole.
func (p *Proxy) Blackhole(up, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upBlocked, p.downBlocked = up, down
	p.notify()
}

// Heal ends [Proxy.Blackhole].
func (p *Proxy) Heal() { p.Blackhole(false, false) }

// CutAll closes all connections. What they hold is lost. New ones are welcome.
func (p *Proxy) CutAll() {
	p.cut(func(*conn) bool { return true })
}

// CutPubSub closes the connections that have sent SUBSCRIBE, PSUBSCRIBE or
// SSUBSCRIBE.
func (p *Proxy) CutPubSub() {
	p.cut(func(c *conn) bool { return c.pubsub })
}

func (p *Proxy) cut(which func(*conn) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if which(c) {
			c.closeLocked()
		}
	}
}
