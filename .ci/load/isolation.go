package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// isolation mounts three kinds of connector at once, in one era after the other, and lets all users at them in both.
func isolation(r *run) error {
	for _, mounted := range eras {
		s := r.site
		srv, err := r.serve("isolation-"+mounted, mountHTTP("web", s.mounted[mounted].URL, "user"),
			mountStdio("pipe", "user", s.self, "child", "stdio", mounted, "0"), mountAPI("rest", s.api.URL, s.document))
		if err != nil {
			return err
		}
		people, err := r.logIn(r.users)
		if err != nil {
			return err
		}
		for _, era := range eras {
			if err := r.storm(people, mounted, era); err != nil {
				return err
			}
		}
		if err := r.strangers(people, mounted); err != nil {
			return err
		}
		srv.stop()
	}
	return nil
}

// heardOf counts what reached users, so that silence is not taken for isolation.
type heardOf struct{ answers, progress, logs, questions atomic.Int64 }

// storm lets all users of one era call each connector, many calls at a time.
func (r *run) storm(people []*user, mounted, era string) error {
	ctx := context.Background()
	open := make([]*standing, len(people))
	if era == "legacy" {
		each(len(people), 16, func(i int) {
			var err error
			if open[i], err = people[i].open(ctx); err != nil {
				r.fault("%s: session: %v", people[i].name, err)
			}
		})
	}
	for _, name := range []string{"web", "pipe", "rest"} {
		began := time.Now()
		var heard heardOf
		parallel := r.parallel
		// Here each call at a time has a child of its own, and children are bounded.
		if name == "pipe" && mounted == "legacy" && era == "modern" {
			parallel = min(parallel, len(people))
		}
		each(len(people)*r.calls, parallel, func(i int) {
			c := &oneCall{user: people[i%len(people)], connector: name, mounted: mounted, modern: era == "modern", n: i / len(people), heard: &heard}
			c.do(ctx)
		})
		r.say("%s connector %-4s, %s clients: %d users, %d answers, %d of progress, %d logs, %d questions in %s", mounted, name, era, len(people),
			heard.answers.Load(), heard.progress.Load(), heard.logs.Load(), heard.questions.Load(), time.Since(began).Round(time.Millisecond))
		r.complete(&heard, name, len(people)*r.calls)
	}
	each(len(people), 16, func(i int) {
		if open[i] != nil {
			people[i].close(open[i])
			open[i].judge(people[i])
		}
	})
	return nil
}

// complete makes sure that everything that was said was heard.
func (r *run) complete(h *heardOf, connector string, calls int) {
	if h.answers.Load() != int64(calls) {
		r.fault("%s: %d answers to %d calls", connector, h.answers.Load(), calls)
	}
	if connector == "rest" {
		return
	}
	asking := 0
	for i := range calls {
		if ask(i) != "" {
			asking++
		}
	}
	// Over pipes a question may overtake the logs before it, which then have no stream any more to go by; and a child that
	// had to make room takes the level with it that its session has set.
	logs := calls
	if connector == "pipe" {
		logs = calls / 20
	}
	if p, q := h.progress.Load(), h.questions.Load(); p < int64(calls) || h.logs.Load() < int64(logs) || q < int64(asking/2) {
		r.fault("%s: %d calls, but only %d of progress, %d logs and %d questions were heard", connector, calls, p, h.logs.Load(), q)
	}
}

// judge looks at what came by a session's own stream: what belongs to no call under way, and nothing else.
func (s *standing) judge(u *user) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.heard {
		if m.Method == "notifications/progress" {
			u.run.fault("%s heard %s on the session's own stream", u.name, m.Method)
		}
	}
}

// ask is what the n-th call asks back: nothing, an elicitation, or a sample.
func ask(n int) string { return []string{"", "elicit", "sample", ""}[n%4] }

// tag is what all messages of a call carry.
func (c *oneCall) tag() string {
	return fmt.Sprintf("%s/%s/%s/%v/%d", c.user.name, c.connector, c.mounted, c.modern, c.n)
}
