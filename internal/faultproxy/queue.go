package faultproxy

// exchange is a request that waits for its reply.
type exchange struct {
	rules    []*Rule
	answer   []byte // the proxy's own reply, nil if the server is to give it
	confirms string // the name of a SUBSCRIBE or the like, else ""
	left     int    // replies still to come: one for each channel of a SUBSCRIBE
	begun    bool   // the first of them has come
}

// queue holds the requests of one connection whose replies are to come, in order,
// and the channels that it has subscribed to, which decide on the number of replies
// to an UNSUBSCRIBE.
type queue struct {
	exchanges []*exchange
	channels  map[string]map[string]bool // by kind of subscription
}

// expectReply enters a request just before it is sent.
func (c *conn) expectReply(cmd Command, rules []*Rule) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	ex := &exchange{rules: rules, left: 1}
	if kind, adds, ok := subscription(cmd.Name); ok {
		ex.confirms = cmd.Name
		ex.left = c.awaited.confirmations(kind, adds, cmd.Args)
	}
	c.awaited.exchanges = append(c.awaited.exchanges, ex)
}

// answer enters a request together with its reply, an error. The caller holds mu.
func (c *conn) answer(line string) {
	c.awaited.exchanges = append(c.awaited.exchanges, &exchange{answer: []byte("-" + line + "\r\n")})
	c.deliverAnswers()
}

// deliverAnswers delivers the proxy's own replies that nothing stands before. The
// caller holds mu.
func (c *conn) deliverAnswers() {
	q := &c.awaited
	for len(q.exchanges) > 0 && q.exchanges[0].answer != nil {
		c.deliver(q.exchanges[0].answer)
		q.exchanges = q.exchanges[1:]
	}
}

// claimReply returns the request that v belongs to, or nil, and the rules that are
// to act on v: those of the request, unless they have acted on an earlier reply to
// it.
func (c *conn) claimReply(v value) (*exchange, []*Rule) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	ex := c.owner(v)
	if ex == nil || ex.begun {
		return ex, nil
	}
	ex.begun = true
	return ex, ex.rules
}

// settleReply delivers v, and takes its request, which is the first in the queue,
// off it if v was the last reply to it.
func (c *conn) settleReply(ex *exchange, v value) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.deliver(v.raw)
	if ex == nil {
		return
	}
	if ex.left--; ex.left <= 0 || v.isError() { // an error answers all channels at once
		c.awaited.exchanges = c.awaited.exchanges[1:]
		c.deliverAnswers()
	}
}

// owner returns the request that v answers: the first in the queue. It is nil if v
// answers none: a push that is no message, a line of MONITOR, or an UNSUBSCRIBE that
// the server made by itself. The caller holds mu.
func (c *conn) owner(v value) *exchange {
	q := &c.awaited
	confirms := confirmation(v, c.pubsub)
	if confirms == "" && v.raw[0] == '>' {
		return nil
	}
	// A SUBSCRIBE that got fewer confirmations than expected is over when something
	// else is answered.
	for len(q.exchanges) > 0 && q.exchanges[0].begun && q.exchanges[0].confirms != "" && q.exchanges[0].confirms != confirms {
		q.exchanges = q.exchanges[1:]
		c.deliverAnswers()
	}
	if len(q.exchanges) == 0 || (confirms != "" && q.exchanges[0].confirms != confirms) {
		return nil
	}
	return q.exchanges[0]
}

// confirmations returns how many replies a SUBSCRIBE or UNSUBSCRIBE gets.
func (q *queue) confirmations(kind string, adds bool, channels []string) int {
	if q.channels == nil {
		q.channels = make(map[string]map[string]bool)
	}
	have := q.channels[kind]
	if have == nil {
		have = make(map[string]bool)
		q.channels[kind] = have
	}
	n := len(channels)
	if n == 0 { // UNSUBSCRIBE from all, or from nothing
		n = max(1, len(have))
		clear(have)
	}
	for _, channel := range channels {
		if adds {
			have[channel] = true
		} else {
			delete(have, channel)
		}
	}
	return n
}
