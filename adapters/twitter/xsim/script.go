package xsim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds of a script: a line is at most a long tweet, and a script what a person or a
// generator writes, not a data set.
const (
	maxScriptLine  = 128 << 10
	maxScriptSteps = 100_000
	maxTimes       = 10_000_000
	maxAfter       = 24 * time.Hour
)

// Step is one line of a script: what is done, after a pause. Fields that an action
// does not use must be left out. docs/twitter.md, "xsim", describes all actions.
type Step struct {
	Line  int           `json:"-"` // counted from 1
	After time.Duration `json:"-"` // the pause before it
	For   time.Duration `json:"-"`
	Every time.Duration `json:"-"`
	Reset time.Duration `json:"-"`

	Do       string `json:"do"`
	As       string `json:"as"`       // a name for the tweet, by which later steps call it
	User     string `json:"user"`     // handle or id: who tweets, writes, is suspended
	ID       string `json:"id"`       // of a new user
	Handle   string `json:"handle"`   // of a new user
	To       string `json:"to"`       // handle or id: who a direct message goes to; the bank by default
	Of       string `json:"of"`       // name of the tweet that is edited, deleted, quoted …
	ReplyTo  string `json:"reply_to"` // name of a tweet
	QuoteOf  string `json:"quote_of"` // name of a tweet
	Lang     string `json:"lang"`
	Text     string `json:"text"` // {n} in it becomes the number of the repetition, from 1
	Endpoint string `json:"endpoint"`
	Status   int    `json:"status"`
	Times    int    `json:"times"`
}

// stepJSON adds the fields that are written as "500ms".
type stepJSON struct {
	*Step
	After string `json:"after"`
	For   string `json:"for"`
	Every string `json:"every"`
	Reset string `json:"reset"`
}

// action says which fields a step may and must have.
type action struct {
	needs, takes []string
}

func actions() map[string]action {
	timesOnly := action{takes: []string{"times"}}
	return map[string]action{
		"user":         {needs: []string{"id", "handle"}},
		"tweet":        {needs: []string{"user", "text"}, takes: []string{"as", "reply_to", "quote_of", "lang", "times", "every"}},
		"retweet":      {needs: []string{"user", "of"}, takes: []string{"as"}},
		"edit":         {needs: []string{"of", "text"}},
		"delete":       {needs: []string{"of"}},
		"redeliver":    {needs: []string{"of"}},
		"hide":         {needs: []string{"of"}},
		"message":      {needs: []string{"user", "text"}, takes: []string{"to", "times", "every"}},
		"suspend":      {needs: []string{"user"}},
		"protect":      {needs: []string{"user"}},
		"leave":        {needs: []string{"user"}},
		"fail":         {needs: []string{"endpoint", "status"}, takes: []string{"times", "reset"}},
		"cut":          timesOnly,
		"lose":         timesOnly,
		"duplicate":    timesOnly,
		"hold":         timesOnly,
		"forge":        timesOnly,
		"lose_answers": timesOnly,
		"release":      {},
		"silence":      {needs: []string{"for"}},
		"disconnect":   {},
		"replay":       {},
		"await_stream": {},
		"say":          {needs: []string{"text"}},
	}
}

// ScriptError is what is wrong with a line of a script.
type ScriptError struct {
	Line int // counted from 1; 0: the script as a whole
	Err  error
}

// Error implements error.
func (e *ScriptError) Error() string {
	if e.Line == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *ScriptError) Unwrap() error { return e.Err }

// ReadScript reads a script of JSON lines; empty lines and lines that begin with # are
// comments. What is wrong is a *ScriptError, found before anything is played.
func ReadScript(r io.Reader) ([]Step, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxScriptLine)
	var steps []Step
	names := map[string]bool{}
	line := 0
	for in.Scan() {
		line++
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		step, err := readStep(text)
		if err == nil {
			err = step.check(names)
		}
		if err == nil && len(steps) == maxScriptSteps {
			err = fmt.Errorf("a script has at most %d steps; a step can repeat itself with times", maxScriptSteps)
		}
		if err != nil {
			return nil, &ScriptError{Line: line, Err: err}
		}
		step.Line = line
		steps = append(steps, step)
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return nil, &ScriptError{Line: line + 1, Err: fmt.Errorf("the line is longer than %d bytes", maxScriptLine)}
	}
	if err := in.Err(); err != nil {
		return nil, &ScriptError{Err: err}
	}
	if len(steps) == 0 {
		return nil, &ScriptError{Err: errors.New("the script has no steps")}
	}
	return steps, nil
}

func readStep(text []byte) (Step, error) {
	var step Step
	raw := stepJSON{Step: &step}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&raw); err != nil {
		return step, fmt.Errorf("it is not a step: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if decoder.More() {
		return step, errors.New("there is one step a line, and nothing after it")
	}
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"after", raw.After, &step.After}, {"for", raw.For, &step.For}, {"every", raw.Every, &step.Every}, {"reset", raw.Reset, &step.Reset}} {
		if d.text == "" {
			continue
		}
		parsed, err := time.ParseDuration(d.text)
		if err != nil || parsed < 0 || parsed > maxAfter {
			return step, fmt.Errorf("%s is %q; write a time like \"500ms\", at most %s", d.name, d.text, maxAfter)
		}
		*d.to = parsed
	}
	return step, nil
}

// given names the fields that a step has.
func (s Step) given() []string {
	var names []string
	for name, there := range map[string]bool{"as": s.As != "", "user": s.User != "", "id": s.ID != "", "handle": s.Handle != "", "to": s.To != "", "of": s.Of != "",
		"reply_to": s.ReplyTo != "", "quote_of": s.QuoteOf != "", "lang": s.Lang != "", "text": s.Text != "", "endpoint": s.Endpoint != "", "status": s.Status != 0,
		"times": s.Times != 0, "for": s.For != 0, "every": s.Every != 0, "reset": s.Reset != 0} {
		if there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// check says what is wrong with a step, given the tweets that were named before it.
func (s Step) check(names map[string]bool) error {
	known := actions()
	a, ok := known[s.Do]
	if !ok {
		list := make([]string, 0, len(known))
		for name := range known {
			list = append(list, name)
		}
		slices.Sort(list)
		return fmt.Errorf("there is no action %q; use one of %s", s.Do, strings.Join(list, ", "))
	}
	given := s.given()
	for _, name := range a.needs {
		if !slices.Contains(given, name) {
			return fmt.Errorf("%s needs %q", s.Do, name)
		}
	}
	for _, name := range given {
		if !slices.Contains(a.needs, name) && !slices.Contains(a.takes, name) {
			return fmt.Errorf("%s takes no %q", s.Do, name)
		}
	}
	for _, name := range []string{s.Of, s.ReplyTo, s.QuoteOf} {
		if name != "" && !names[name] {
			return fmt.Errorf("no tweet before this line is named %q", name)
		}
	}
	switch {
	case s.Times < 0 || s.Times > maxTimes:
		return fmt.Errorf("times is 1 to %d, not %d", maxTimes, s.Times)
	case s.As != "" && s.Times > 1:
		return errors.New("a tweet that repeats itself has no name")
	case s.As != "" && names[s.As]:
		return fmt.Errorf("there is a tweet named %q already", s.As)
	case s.ID != "" && number(s.ID) == 0:
		return fmt.Errorf("id is %q; ids are numbers", s.ID)
	case s.Endpoint != "" && !slices.Contains(Endpoints(), Endpoint(s.Endpoint)):
		return fmt.Errorf("there is no endpoint %q; use one of %v", s.Endpoint, Endpoints())
	case s.Status != 0 && (s.Status < 400 || s.Status > 599):
		return fmt.Errorf("status is 400 to 599, not %d", s.Status)
	}
	if s.As != "" {
		names[s.As] = true
	}
	return nil
}
