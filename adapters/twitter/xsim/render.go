package xsim

import (
	"net/url"
	"strings"
	"time"
)

// view is what a caller asked to see: X gives a tweet's id, text and edit history,
// and everything else only to who names it.
type view struct {
	fields     map[string]bool
	expansions map[string]bool
	posts      bool // in the names of posts
}

func (s *Server) view(q url.Values) view {
	return view{set(q.Get("tweet.fields")), set(q.Get("expansions")), s.opts.PostNames}
}

// name gives a field the name that the view asks for.
func (v view) name(field string) string {
	if v.posts {
		return strings.Replace(field, "tweet", "post", 1)
	}
	return field
}

func set(list string) map[string]bool {
	names := map[string]bool{}
	for _, name := range strings.Split(list, ",") {
		if name != "" {
			names[name] = true
		}
	}
	return names
}

// shortForm is how much of a long text a tweet itself shows.
const shortForm = 270

const timeFormat = "2006-01-02T15:04:05.000Z"

// escape does to texts what X does.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// render returns t as JSON with the fields of the view.
func (v view) render(t *tweet) map[string]any {
	out := map[string]any{"id": t.id, "text": escape(t.text), v.name("edit_history_tweet_ids"): t.chain.ids}
	if runes := []rune(t.text); len(runes) > mostCharacters {
		out["text"] = escape(string(runes[:shortForm])) + "…"
		if v.fields["note_tweet"] {
			out[v.name("note_tweet")] = map[string]any{"text": escape(t.text), "entities": map[string]any{"mentions": t.mentions}}
		}
	}
	for field, value := range map[string]any{
		"author_id":       t.authorID,
		"conversation_id": t.conversation,
		"created_at":      t.createdAt.Format(timeFormat),
		"lang":            t.lang,
		"edit_controls": map[string]any{
			"edits_remaining":  maxEdits - t.version(),
			"is_edit_eligible": true,
			"editable_until":   t.createdAt.Add(time.Hour).Format(timeFormat),
		},
	} {
		if v.fields[field] {
			out[field] = value
		}
	}
	if v.fields["referenced_tweets"] && len(t.refs) > 0 {
		out[v.name("referenced_tweets")] = t.refs
	}
	if v.fields["in_reply_to_user_id"] && t.inReplyToID != "" {
		out["in_reply_to_user_id"] = t.inReplyToID
	}
	if v.fields["entities"] {
		entities := map[string]any{}
		if len(t.mentions) > 0 {
			entities["mentions"] = t.mentions
		}
		if len(t.hashtags) > 0 {
			entities["hashtags"] = t.hashtags
		}
		if len(entities) > 0 {
			out["entities"] = entities
		}
	}
	return out
}

func (t *tweet) version() int {
	for i, id := range t.chain.ids {
		if id == t.id {
			return i
		}
	}
	return 0
}

// includes returns what the view's expansions bring along for these tweets.
func (s *Server) includes(v view, tweets ...*tweet) map[string]any {
	seen := map[string]bool{}
	var users []map[string]string
	add := func(id string) {
		if a := s.users[id]; a != nil && !seen[id] {
			seen[id] = true
			users = append(users, a.render())
		}
	}
	for _, t := range tweets {
		if v.expansions["author_id"] {
			add(t.authorID)
		}
		if v.expansions["entities.mentions.username"] {
			for _, m := range t.mentions {
				add(m.ID)
			}
		}
	}
	if len(users) == 0 {
		return nil
	}
	return map[string]any{"users": users}
}

func (u *account) render() map[string]string {
	return map[string]string{"id": u.ID, "name": u.Name, "username": u.Handle}
}
