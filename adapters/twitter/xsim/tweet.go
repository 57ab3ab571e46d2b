package xsim

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// tweet is one version of a tweet.
type tweet struct {
	id           string
	authorID     string
	text         string
	lang         string
	createdAt    time.Time
	conversation string
	refs         []reference
	inReplyToID  string // author of the tweet that this one answers
	mentions     []mention
	hashtags     []hashtag
	chain        *chain
	hidden       bool // left out of look-ups without a word
}

// chain are the versions of one tweet, the oldest first.
type chain struct {
	ids     []string
	deleted bool
}

type reference struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type mention struct {
	Start    int    `json:"start"`
	End      int    `json:"end"`
	Username string `json:"username"`
	ID       string `json:"id"`
}

type hashtag struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Tag   string `json:"tag"`
}

// maxEdits is how often X lets a tweet be edited.
const maxEdits = 5

// TweetOption says more about a tweet than its text.
type TweetOption func(*tweet)

// ReplyTo makes the tweet an answer to the tweet id.
func ReplyTo(id string) TweetOption {
	return func(t *tweet) { t.refs = append(t.refs, reference{"replied_to", id}) }
}

// QuoteOf makes the tweet a quote of the tweet id.
func QuoteOf(id string) TweetOption {
	return func(t *tweet) { t.refs = append(t.refs, reference{"quoted", id}) }
}

// RetweetOf makes the tweet a retweet of the tweet id; its text is made from that.
func RetweetOf(id string) TweetOption {
	return func(t *tweet) { t.refs = append(t.refs, reference{"retweeted", id}) }
}

// Lang sets the language that X believes the tweet to be in; "fr" otherwise.
func Lang(tag string) TweetOption {
	return func(t *tweet) { t.lang = tag }
}

// Tweet publishes a tweet and returns its id. Mentions of known handles are
// resolved. An author who is not known gets an account without a name.
func (s *Server) Tweet(authorID, text string, opts ...TweetOption) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tweet{authorID: authorID, text: text, lang: "fr"}
	for _, opt := range opts {
		opt(t)
	}
	return s.publish(t).id
}

// publish stores t and puts it on the stream.
func (s *Server) publish(t *tweet) *tweet {
	if s.users[t.authorID] == nil {
		s.addUser(t.authorID, "user"+t.authorID, "")
	}
	t.id = s.newID()
	t.createdAt = s.opts.Clock().UTC().Truncate(time.Millisecond)
	t.conversation = t.id
	for _, ref := range t.refs {
		parent := s.tweets[ref.ID]
		switch {
		case parent == nil:
		case ref.Type == "replied_to":
			t.conversation, t.inReplyToID = parent.conversation, parent.authorID
		case ref.Type == "retweeted":
			t.text = "RT @" + s.users[parent.authorID].Handle + ": " + parent.text
		}
	}
	if t.chain == nil {
		t.chain = &chain{}
	}
	t.chain.ids = append(t.chain.ids, t.id)
	t.mentions, t.hashtags = s.entities(t.text)
	s.tweets[t.id] = t
	s.order = append(s.order, t)
	for len(s.order) > s.opts.MaxTweets {
		oldest := s.order[0]
		delete(s.tweets, oldest.id)
		delete(s.written, oldest.authorID+" "+oldest.text)
		s.order = s.order[1:]
	}
	s.deliver(t)
	s.notifyPost(t)
	return t
}

// Edit replaces the text of a tweet, named by any of its versions, and returns
// the new version's id; "" where the tweet is gone or was edited five times.
func (s *Server) Edit(id, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.tweets[id]
	if old == nil || old.chain.deleted || len(old.chain.ids) > maxEdits {
		return ""
	}
	return s.publish(&tweet{authorID: old.authorID, text: text, lang: old.lang, refs: slices.Clone(old.refs), chain: old.chain}).id
}

// Delete deletes a tweet with all its versions and tells the compliance stream.
// False: there is no such tweet.
func (s *Server) Delete(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tweets[id]
	if t == nil || t.chain.deleted {
		return false
	}
	t.chain.deleted = true
	s.announceDeletion(t)
	s.notifyDeletion(t)
	return true
}

// Redeliver puts a tweet on the stream once more, as X does now and then.
func (s *Server) Redeliver(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tweets[id]; t != nil {
		s.deliver(t)
	}
}

// HideFromLookup makes look-ups leave a tweet out without an error, as X does
// now and then.
func (s *Server) HideFromLookup(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tweets[id]; t != nil {
		t.hidden = true
	}
}

// Reply is an answer that somebody published through the API.
type Reply struct {
	ID        string
	AuthorID  string
	InReplyTo string
	Text      string
	CreatedAt time.Time
}

// Replies returns all answers, the oldest first.
func (s *Server) Replies() []Reply { return s.replies("") }

// RepliesTo returns the answers to the tweet id, the oldest first.
func (s *Server) RepliesTo(id string) []Reply { return s.replies(id) }

func (s *Server) replies(to string) []Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Reply
	for _, t := range s.order {
		parent := t.repliesTo()
		if parent == "" || t.chain.deleted || (to != "" && parent != to) {
			continue
		}
		found = append(found, Reply{ID: t.id, AuthorID: t.authorID, InReplyTo: parent, Text: t.text, CreatedAt: t.createdAt})
	}
	return found
}

func (t *tweet) repliesTo() string {
	for _, ref := range t.refs {
		if ref.Type == "replied_to" {
			return ref.ID
		}
	}
	return ""
}

func (t *tweet) is(kind string) bool {
	return slices.ContainsFunc(t.refs, func(r reference) bool { return r.Type == kind })
}

// latest reports whether t is the version that counts.
func (t *tweet) latest() bool { return t.chain.ids[len(t.chain.ids)-1] == t.id }

func (t *tweet) mentionsUser(id string) bool {
	return slices.ContainsFunc(t.mentions, func(m mention) bool { return m.ID == id })
}

var (
	mentionPattern = regexp.MustCompile(`(?:^|[^A-Za-z0-9_!#$%&*@])([@＠]([A-Za-z0-9_]{1,20}))`)
	hashtagPattern = regexp.MustCompile(`(?:^|[^\pL\pN_&])([#＃]([\pL\pN_]*\pL[\pL\pN_]*))`)
)

// entities finds mentions of known users and hashtags; places count code points.
func (s *Server) entities(text string) ([]mention, []hashtag) {
	var mentions []mention
	for _, at := range mentionPattern.FindAllStringSubmatchIndex(text, -1) {
		handle := text[at[4]:at[5]]
		if id, ok := s.handles[strings.ToLower(handle)]; ok {
			mentions = append(mentions, mention{utf8.RuneCountInString(text[:at[2]]), utf8.RuneCountInString(text[:at[3]]), handle, id})
		}
	}
	var hashtags []hashtag
	for _, at := range hashtagPattern.FindAllStringSubmatchIndex(text, -1) {
		hashtags = append(hashtags, hashtag{utf8.RuneCountInString(text[:at[2]]), utf8.RuneCountInString(text[:at[3]]), text[at[4]:at[5]]})
	}
	return mentions, hashtags
}
