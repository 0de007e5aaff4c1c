package lua

import (
	"fmt"
)

// gathered is how many polls of one lock go as one command at most: as many
// places as a script may look at, see BOUND in base.lua.
const gathered = 128

// gather puts polls of one lock together, where its kind has a script for that:
// a thousand waiting requests of one client are not a thousand commands. It
// returns what to send, and a function that hands the answers out then.
func gather(calls []*Call) (send []*Call, handOut func()) {
	var polls map[string][]*Call // by lock key
	for _, c := range calls {
		if c.isPoll() && c.script.polls != nil {
			if polls == nil {
				polls = map[string][]*Call{}
			}
			key, _ := c.Keys()[0].(string)
			polls[key] = append(polls[key], c)
		} else {
			send = append(send, c)
		}
	}
	var groups [][]*Call
	var sent []*Call
	for _, all := range polls {
		for len(all) > 0 {
			group := all[:min(gathered, len(all))]
			all = all[len(group):]
			if len(group) == 1 {
				send = append(send, group[0])
				continue
			}
			one := groupCall(group)
			send = append(send, one)
			groups, sent = append(groups, group), append(sent, one)
		}
	}
	return send, func() {
		for i, group := range groups {
			sent[i].answerAll(group)
		}
	}
}

// isPoll tells a poll from what else an acquire script is called for.
func (c *Call) isPoll() bool {
	args := c.Args()[3+c.keys:]
	return len(args) == 5 && args[3] == "poll"
}

func groupCall(group []*Call) *Call {
	args := make([]any, 0, 4*len(group))
	for _, c := range group {
		poll := c.Args()[3+c.keys:] // id, request, lease, "poll", alive
		args = append(args, poll[0], poll[1], poll[2], poll[4])
	}
	return NewCall(group[0].script.polls, group[0].Keys(), args...)
}

// answerAll leaves its part of the answer, or the error of the whole, in each.
func (c *Call) answerAll(group []*Call) {
	answers, err := c.Slice()
	if err == nil && len(answers) != len(group) {
		err = fmt.Errorf("%w: %d answers to %d polls", errReply, len(answers), len(group))
	}
	for i, poll := range group {
		if err != nil {
			poll.SetErr(err)
		} else {
			poll.SetVal(answers[i])
		}
	}
}
