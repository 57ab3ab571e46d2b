package twitter

import (
	"bytes"
	"encoding/json"
	"html"
	"slices"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// maxEdits bounds an edit history. X allows five edits, six versions; the rest is
// room for the day when that changes.
const maxEdits = 32

// numericID is an id as X sends it: a string. A bare JSON integer is taken as
// well, digit for digit, because scripts that re-encode exports write it so.
type numericID string

// UnmarshalJSON implements json.Unmarshaler.
func (id *numericID) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	s := string(b)
	if b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	if s == "-1" { // what archives write for an account that is gone
		s = ""
	}
	if s != "" && !validID(s) {
		return ledger.Errorf(ledger.CodeInvalid, "%s is not a numeric id", clip(string(b)))
	}
	*id = numericID(s)
	return nil
}

// tweet is a post of the X API v2 in either naming scheme: the stream and older
// samples say tweet, the newest reference says post.
type tweet struct {
	ID             numericID   `json:"id"`
	Text           *string     `json:"text"`
	AuthorID       numericID   `json:"author_id"`
	ConversationID numericID   `json:"conversation_id"`
	CreatedAt      string      `json:"created_at"`
	Lang           string      `json:"lang"`
	Entities       entities    `json:"entities"`
	EditTweetIDs   []numericID `json:"edit_history_tweet_ids"`
	EditPostIDs    []numericID `json:"edit_history_post_ids"`
	RefTweets      []reference `json:"referenced_tweets"`
	RefPosts       []reference `json:"referenced_posts"`
	NoteTweet      *note       `json:"note_tweet"`
	NotePost       *note       `json:"note_post"`
}

type reference struct {
	Type string    `json:"type"`
	ID   numericID `json:"id"`
}

// note is the long form of a text of which tweet.Text is only the beginning.
type note struct {
	Text     string   `json:"text"`
	Entities entities `json:"entities"`
}

type entities struct {
	Mentions []entityMention `json:"mentions"`
}

type entityMention struct {
	Username string    `json:"username"`
	ID       numericID `json:"id"`
}

type user struct {
	ID       numericID `json:"id"`
	Username string    `json:"username"`
}

// includes is what the expansions of a response bring along.
type includes struct {
	Users []user `json:"users"`
}

// directory finds the users of a response's includes.
type directory struct {
	handles map[numericID]string
	ids     map[string]numericID // by lower-case handle
}

func (in includes) directory() directory {
	d := directory{handles: make(map[numericID]string, len(in.Users)), ids: make(map[string]numericID, len(in.Users))}
	for _, u := range in.Users {
		if u.ID == "" || u.Username == "" {
			continue
		}
		d.handles[u.ID] = u.Username
		d.ids[strings.ToLower(u.Username)] = u.ID
	}
	return d
}

// decodeTweet makes a message of one post, or an Error with CodeInvalid that
// says what it lacks.
func decodeTweet(raw []byte, users directory, via string) (payments.Message, error) {
	var t tweet
	if err := json.Unmarshal(raw, &t); err != nil {
		return payments.Message{}, jsonError("the post", err)
	}
	return t.message(users, via)
}

func (t *tweet) message(users directory, via string) (payments.Message, error) {
	m := payments.Message{
		Channel:        Channel,
		ID:             string(t.ID),
		ConversationID: string(t.ConversationID),
		AuthorID:       string(t.AuthorID),
		AuthorHandle:   users.handles[t.AuthorID],
		Kind:           t.kind(),
		Language:       t.Lang,
		Via:            via,
	}
	switch {
	case t.ID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "the post has no id").InField("id")
	case t.AuthorID == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s names no author; ask X for tweet.fields=author_id", t.ID).InField("author_id")
	case t.Text == nil:
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s has no text", t.ID).InField("text")
	}
	text, named := *t.Text, t.Entities.Mentions
	if n := t.note(); n != nil {
		// The short form's entities stop where it was cut; both may name users.
		text, named = n.Text, append(slices.Clone(n.Entities.Mentions), named...)
	}
	var err error
	if m.Text, err = unescape(m.ID, text); err != nil {
		return m, err
	}
	if err := setEdits(&m, t.edits()); err != nil {
		return m, err
	}
	m.Mentions = mentions(named, users)
	created, err := time.Parse(time.RFC3339, t.CreatedAt)
	if err != nil {
		return m, ledger.Errorf(ledger.CodeInvalid, "post %s was created at %q, which is not a time; ask X for tweet.fields=created_at", t.ID, clip(t.CreatedAt)).InField("created_at")
	}
	m.CreatedAt = created.UTC()
	return m, nil
}

func (t *tweet) note() *note {
	if t.NoteTweet != nil {
		return t.NoteTweet
	}
	return t.NotePost
}

func (t *tweet) edits() []numericID {
	if len(t.EditTweetIDs) > 0 {
		return t.EditTweetIDs
	}
	return t.EditPostIDs
}

// kind tells what the post is to those that it refers to. A quote that is a
// reply as well counts as a quote: it carries foreign words.
func (t *tweet) kind() payments.MessageKind {
	kind := payments.Original
	for _, refs := range [][]reference{t.RefTweets, t.RefPosts} {
		for _, ref := range refs {
			switch ref.Type {
			case "retweeted", "reposted":
				return payments.Repost
			case "quoted":
				kind = payments.Quote
			case "replied_to":
				if kind == payments.Original {
					kind = payments.Answer
				}
			}
		}
	}
	return kind
}

// unescape undoes the escaping of &, < and > in all texts of X, and bounds them.
func unescape(id, text string) (string, error) {
	// An escaped code point takes five bytes ("&amp;"), so longer than this is too
	// long in any case.
	if len(text) > 5*maxTextBytes {
		return "", textTooLong(id, len(text))
	}
	if strings.ContainsRune(text, '&') {
		text = html.UnescapeString(text)
	}
	if len(text) > maxTextBytes {
		return "", textTooLong(id, len(text))
	}
	return strings.ToValidUTF8(text, "\uFFFD"), nil
}

func textTooLong(id string, size int) error {
	return ledger.Errorf(ledger.CodeInvalid, "post %s has a text of %d bytes, more than the %d that X allows; it was left out", id, size, maxTextBytes).InField("text")
}

// setEdits sets the first id of m's edit chain and m's place in it.
func setEdits(m *payments.Message, chain []numericID) error {
	m.FirstID, m.Version = m.ID, 0
	if len(chain) == 0 {
		return nil
	}
	if len(chain) > maxEdits {
		return ledger.Errorf(ledger.CodeInvalid, "post %s has %d versions, more than the %d that are read", m.ID, len(chain), maxEdits).InField("edit_history_tweet_ids")
	}
	version := slices.Index(chain, numericID(m.ID))
	if version < 0 || chain[0] == "" {
		return ledger.Errorf(ledger.CodeInvalid, "the edit history of post %s does not name the post itself", m.ID).InField("edit_history_tweet_ids")
	}
	m.FirstID, m.Version = string(chain[0]), version
	for _, id := range chain {
		if id != "" && len(chain) > 1 {
			m.Chain = append(m.Chain, string(id))
		}
	}
	return nil
}

// mentions resolves the users that a text names: by the entity's own id, else by
// the response's includes. Who stays without an id is left out, and the parser
// says so.
func mentions(named []entityMention, users directory) []payments.Mention {
	var found []payments.Mention
	for _, n := range named {
		if n.ID == "" {
			n.ID = users.ids[strings.ToLower(n.Username)]
		}
		m := payments.Mention{UserID: string(n.ID), Handle: n.Username}
		if m.UserID == "" || m.Handle == "" || len(m.Handle) > maxHandleLength || slices.Contains(found, m) {
			continue
		}
		if found = append(found, m); len(found) == maxMentions {
			break
		}
	}
	return found
}

// jsonError says in one line why JSON could not be read.
func jsonError(what string, err error) error {
	if code := ledger.CodeOf(err); code != "" {
		return err
	}
	return ledger.Errorf(ledger.CodeInvalid, "%s is not as X writes it: %w", what, err)
}

// event is one post as the stream and the webhook deliver it, or what else a stream
// says.
type event struct {
	Data     json.RawMessage `json:"data"`
	Includes includes        `json:"includes"`
	Errors   []Problem       `json:"errors"`
}

func (e event) message(via string) (payments.Message, error) {
	return decodeTweet(e.Data, e.Includes.directory(), via)
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}
