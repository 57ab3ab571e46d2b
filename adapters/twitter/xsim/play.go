package xsim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Play plays a script on the server, step by step, and tells what it does. Tweets are
// of users that the script, or whoever made the server, has added; bank is the id of
// the user whom direct messages go to where a step does not say. The error is a
// *ScriptError, or the context's.
func (s *Server) Play(ctx context.Context, bank string, steps []Step, tell func(string)) error {
	p := player{server: s, bank: bank, tell: tell, tweets: map[string]string{}}
	for _, step := range steps {
		if err := s.pause(ctx, step.After); err != nil {
			return err
		}
		if err := p.play(ctx, step); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &ScriptError{Line: step.Line, Err: err}
		}
	}
	return nil
}

func (s *Server) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-s.opts.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type player struct {
	server *Server
	bank   string
	tell   func(string)
	tweets map[string]string // ids by name
}

// user finds a user by handle or id.
func (p *player) user(name string) (string, error) {
	id, ok := p.server.FindUser(name)
	if !ok {
		return "", fmt.Errorf("there is no user %q; add one with {\"do\":\"user\",\"id\":…,\"handle\":…}", name)
	}
	return id, nil
}

func (p *player) play(ctx context.Context, step Step) error {
	times := max(step.Times, 1)
	switch step.Do {
	case "tweet", "retweet", "message":
		return p.write(ctx, step, times)
	case "edit":
		id := p.server.Edit(p.tweets[step.Of], step.Text)
		if id == "" {
			return fmt.Errorf("tweet %q cannot be edited: it is gone, or was edited five times", step.Of)
		}
		p.tell(fmt.Sprintf("edit %s of %s: %s", id, step.Of, step.Text))
		return nil
	case "delete":
		if !p.server.Delete(p.tweets[step.Of]) {
			return fmt.Errorf("tweet %q is gone already", step.Of)
		}
	case "redeliver":
		p.server.Redeliver(p.tweets[step.Of])
	case "hide":
		p.server.HideFromLookup(p.tweets[step.Of])
	case "user":
		p.server.AddUser(step.ID, step.Handle, step.Handle)
	case "suspend", "protect", "leave":
		id, err := p.user(step.User)
		if err != nil {
			return err
		}
		switch step.Do {
		case "suspend":
			p.server.Suspend(id)
		case "protect":
			p.server.Protect(id)
		default:
			p.server.Leave(id)
		}
	case "silence":
		p.tell("silence for " + step.For.String())
		p.server.Silence(true)
		defer p.server.Silence(false)
		return p.server.pause(ctx, step.For)
	case "await_stream":
		p.tell("waits for a client to read the stream")
		return p.server.WaitForStreams(ctx, 1, 0)
	case "say":
		p.tell(step.Text)
		return nil
	default:
		p.fault(step, times)
	}
	words := slices.DeleteFunc([]string{step.Do, step.Of, step.User, step.Handle, step.Endpoint}, func(word string) bool { return word == "" })
	if step.Times > 1 {
		words = append(words, "x", strconv.Itoa(step.Times))
	}
	p.tell(strings.Join(words, " "))
	return nil
}

// fault orders what goes wrong.
func (p *player) fault(step Step, times int) {
	switch step.Do {
	case "fail":
		p.server.Fail(Endpoint(step.Endpoint), Failure{Status: step.Status, Times: times, Reset: step.Reset})
	case "cut":
		p.server.CutMidTweet(times)
	case "lose":
		p.server.Lose(times)
	case "duplicate":
		p.server.Duplicate(times)
	case "hold":
		p.server.Hold(times)
	case "release":
		p.server.Release()
	case "forge":
		p.server.Forge(times)
	case "lose_answers":
		p.server.LoseAnswers(times)
	case "disconnect":
		p.server.Disconnect()
	case "replay":
		p.server.Replay()
	}
}

// write publishes what somebody writes, as often as the step says.
func (p *player) write(ctx context.Context, step Step, times int) error {
	author, err := p.user(step.User)
	if err != nil {
		return err
	}
	to := p.bank
	if step.To != "" {
		if to, err = p.user(step.To); err != nil {
			return err
		}
	}
	var options []TweetOption
	if step.ReplyTo != "" {
		options = append(options, ReplyTo(p.tweets[step.ReplyTo]))
	}
	if step.QuoteOf != "" {
		options = append(options, QuoteOf(p.tweets[step.QuoteOf]))
	}
	if step.Do == "retweet" {
		options = append(options, RetweetOf(p.tweets[step.Of]))
	}
	if step.Lang != "" {
		options = append(options, Lang(step.Lang))
	}
	for n := 1; n <= times; n++ {
		if n > 1 {
			if err := p.server.pause(ctx, step.Every); err != nil {
				return err
			}
		}
		text := strings.ReplaceAll(step.Text, "{n}", strconv.Itoa(n))
		var id string
		if step.Do == "message" {
			id = p.server.Direct(author, to, text)
		} else {
			id = p.server.Tweet(author, text, options...)
		}
		if step.As != "" {
			p.tweets[step.As] = id
		}
		if times <= mostTold {
			p.tell(fmt.Sprintf("%s %s by %s: %s", step.Do, id, step.User, text))
		}
	}
	if times > mostTold {
		p.tell(fmt.Sprintf("%s %d times by %s: %s", step.Do, times, step.User, step.Text))
	}
	return nil
}

// mostTold is up to how many repetitions are told one by one.
const mostTold = 20
