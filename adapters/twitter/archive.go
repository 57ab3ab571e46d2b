package twitter

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// Owner is whose account an archive is of: its tweets do not name their author.
type Owner struct {
	ID     string // numeric
	Handle string // without @; may be empty
}

// archiveItem is one element of tweets.js.
type archiveItem struct {
	Tweet *archiveTweet `json:"tweet"`
}

// archiveTweet is a tweet of an archive download, which keeps the names of the
// API v1.1 and writes every number as a string.
type archiveTweet struct {
	ID         numericID `json:"id_str"`
	PlainID    numericID `json:"id"`
	FullText   *string   `json:"full_text"`
	OldText    *string   `json:"text"` // in archives of before 2018
	CreatedAt  string    `json:"created_at"`
	Lang       string    `json:"lang"`
	InReplyTo  numericID `json:"in_reply_to_status_id_str"`
	InReplyTo2 numericID `json:"in_reply_to_status_id"`
	Entities   struct {
		Mentions []struct {
			ScreenName string    `json:"screen_name"`
			ID         numericID `json:"id_str"`
			PlainID    numericID `json:"id"`
		} `json:"user_mentions"`
		URLs []struct {
			Expanded string `json:"expanded_url"`
		} `json:"urls"`
	} `json:"entities"`
	EditInfo struct {
		Initial *editControl `json:"initial"`
		Edit    *struct {
			InitialTweetID     numericID    `json:"initialTweetId"`
			EditControlInitial *editControl `json:"editControlInitial"`
		} `json:"edit"`
	} `json:"edit_info"`
}

type editControl struct {
	EditTweetIDs []numericID `json:"editTweetIds"`
}

// decodeArchiveTweet makes a message of one element of tweets.js, written by
// owner. notes holds the long texts of note-tweet.js.
func decodeArchiveTweet(raw []byte, owner Owner, notes *noteTexts) (payments.Message, error) {
	var item archiveItem
	if err := json.Unmarshal(raw, &item); err != nil {
		return payments.Message{ID: lenientID(raw)}, jsonError("the tweet", err)
	}
	if item.Tweet == nil {
		return payments.Message{}, ledger.Errorf(ledger.CodeInvalid, `the element has no "tweet"`).InField("tweet")
	}
	return item.Tweet.message(owner, notes)
}

func (t *archiveTweet) message(owner Owner, notes *noteTexts) (payments.Message, error) {
	id, text := t.ID, t.FullText
	if id == "" {
		id = t.PlainID
	}
	if text == nil {
		text = t.OldText
	}
	m := payments.Message{Channel: Channel, ID: string(id), AuthorID: owner.ID, AuthorHandle: owner.Handle, Language: t.Lang, Via: ViaArchive}
	switch {
	case id == "":
		return m, ledger.Errorf(ledger.CodeInvalid, "the tweet has no id").InField("id_str")
	case text == nil:
		return m, ledger.Errorf(ledger.CodeInvalid, "tweet %s has no text", id).InField("full_text")
	}
	created, err := time.Parse(time.RubyDate, t.CreatedAt)
	if err != nil {
		return m, ledger.Errorf(ledger.CodeInvalid, "tweet %s was created at %q, which is not a time like %q", id, clip(t.CreatedAt), time.RubyDate).InField("created_at")
	}
	m.CreatedAt = created.UTC()
	if m.Text, err = unescape(m.ID, *text); err != nil {
		return m, err
	}
	m.Text = notes.longText(m.CreatedAt, m.Text)
	m.Kind = t.kind(m.Text)
	if err := setEdits(&m, t.edits()); err != nil {
		return m, err
	}
	m.Mentions = t.mentions()
	return m, nil
}

// edits returns the edit chain. For an edited tweet the archive says twice what
// came first; where the chain does not start with it, it does not count.
func (t *archiveTweet) edits() []numericID {
	info := t.EditInfo
	if info.Edit == nil {
		if info.Initial == nil {
			return nil
		}
		return info.Initial.EditTweetIDs
	}
	var chain []numericID
	if info.Edit.EditControlInitial != nil {
		chain = info.Edit.EditControlInitial.EditTweetIDs
	}
	first := info.Edit.InitialTweetID
	if first != "" && (len(chain) == 0 || chain[0] != first) {
		return append([]numericID{first}, chain...)
	}
	return chain
}

// quotedTweet matches the address of a tweet: as the last link of a text it is a quote.
var quotedTweet = regexp.MustCompile(`^https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/[^/]+/status/[0-9]+`)

func (t *archiveTweet) kind(text string) payments.MessageKind {
	urls := t.Entities.URLs
	switch {
	case startsRepost(text):
		return payments.Repost
	case len(urls) > 0 && quotedTweet.MatchString(urls[len(urls)-1].Expanded):
		return payments.Quote
	case t.InReplyTo != "" || t.InReplyTo2 != "":
		return payments.Answer
	}
	return payments.Original
}

func (t *archiveTweet) mentions() []payments.Mention {
	named := make([]entityMention, 0, len(t.Entities.Mentions))
	for _, n := range t.Entities.Mentions {
		if n.ID == "" {
			n.ID = n.PlainID
		}
		named = append(named, entityMention{Username: n.ScreenName, ID: n.ID})
	}
	return mentions(named, directory{})
}

// lenientID finds the id of an element that cannot be decoded, to name it.
func lenientID(raw []byte) string {
	var found struct {
		ID    json.RawMessage `json:"id"`
		Tweet struct {
			ID json.RawMessage `json:"id_str"`
		} `json:"tweet"`
	}
	_ = json.Unmarshal(raw, &found) // what is not an id stays empty
	for _, id := range []json.RawMessage{found.Tweet.ID, found.ID} {
		if s := strings.Trim(string(id), `"`); validID(s) {
			return s
		}
	}
	return ""
}

const (
	// maxNotes and maxNoteBytes bound what of note-tweet.js is kept in memory: an
	// account that writes ten long posts a day for ten years has 36,500.
	maxNotes     = 100_000
	maxNoteBytes = 256 << 20
)

// noteTexts are the long texts of an archive by the second they were written
// in: the archive gives them ids of their own and no reference to their tweets.
type noteTexts struct {
	bySecond map[int64][]string
	count    int
	bytes    int
}

// archiveNote is one element of note-tweet.js.
type archiveNote struct {
	NoteTweet struct {
		CreatedAt string `json:"createdAt"`
		Core      struct {
			Text string `json:"text"`
		} `json:"core"`
	} `json:"noteTweet"`
}

func (n *noteTexts) add(raw []byte) error {
	var note archiveNote
	if err := json.Unmarshal(raw, &note); err != nil {
		return jsonError("the long text", err)
	}
	at, err := time.Parse(time.RFC3339, note.NoteTweet.CreatedAt)
	if err != nil {
		return ledger.Errorf(ledger.CodeInvalid, "the long text was created at %q, which is not a time", clip(note.NoteTweet.CreatedAt)).InField("noteTweet.createdAt")
	}
	text := note.NoteTweet.Core.Text
	n.count, n.bytes = n.count+1, n.bytes+len(text)
	if n.count > maxNotes || n.bytes > maxNoteBytes {
		return ledger.Errorf(ledger.CodeInvalid, "there are more than %d long texts or %d MiB of them; split the archive", maxNotes, maxNoteBytes>>20)
	}
	if n.bySecond == nil {
		n.bySecond = map[int64][]string{}
	}
	n.bySecond[at.Unix()] = append(n.bySecond[at.Unix()], text)
	return nil
}

// longText returns the long text that short, written at, is the beginning of, or
// short where there is none.
func (n *noteTexts) longText(at time.Time, short string) string {
	if n == nil {
		return short
	}
	start := short
	if i := strings.LastIndex(start, "…"); i >= 0 {
		start = start[:i]
	}
	start = strings.TrimSpace(start)
	for _, text := range n.bySecond[at.Unix()] {
		if start != "" && len(text) > len(short) && len(text) <= maxTextBytes && strings.HasPrefix(text, start) {
			return text
		}
	}
	return short
}
