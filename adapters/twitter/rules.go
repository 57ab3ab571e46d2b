package twitter

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tweetledger/ledger"
)

// Rule is a filter of the stream. Tag says whose it is and what for.
type Rule struct {
	ID    string `json:"id,omitempty"` // given by X
	Value string `json:"value"`
	Tag   string `json:"tag,omitempty"`
}

// BankRule is the rule that lets through what mentions the bank, retweets left out.
func BankRule(handle string) Rule {
	return Rule{Value: "@" + strings.TrimPrefix(handle, "@") + " -is:retweet", Tag: "mentions"}
}

const (
	rulesPath = "/2/tweets/search/stream/rules"
	// maxRulePages bounds listing: X allows 25,000 rules in pages of 1,000.
	maxRulePages = 25
)

// Rules lists the rules of the app's stream, those of others included.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	var rules []Rule
	query := url.Values{}
	for range maxRulePages {
		var page struct {
			Data []Rule `json:"data"`
			Meta struct {
				NextToken string `json:"next_token"`
			} `json:"meta"`
		}
		if err := c.do(ctx, call{endpoint: endpointRules, method: http.MethodGet, path: rulesPath, query: query, token: c.opts.AppToken}, &page); err != nil {
			return nil, fmt.Errorf("listing stream rules: %w", err)
		}
		rules = append(rules, page.Data...)
		if page.Meta.NextToken == "" {
			break
		}
		query.Set("pagination_token", page.Meta.NextToken)
	}
	return rules, nil
}

// rulesAnswer is what X says to a change of rules.
type rulesAnswer struct {
	Errors []struct {
		Problem
		Value   string   `json:"value"`
		Details []string `json:"details"`
	} `json:"errors"`
}

// AddRules adds rules. One that is there already (whoever added it) is fine; one
// that X does not understand is an Error with CodeInvalid.
func (c *Client) AddRules(ctx context.Context, rules []Rule) error {
	if len(rules) == 0 {
		return nil
	}
	var answer rulesAnswer
	body := map[string][]Rule{"add": rules}
	if err := c.do(ctx, call{endpoint: endpointRules, method: http.MethodPost, path: rulesPath, body: body, token: c.opts.AppToken}, &answer); err != nil {
		return fmt.Errorf("adding stream rules: %w", err)
	}
	for _, e := range answer.Errors {
		if strings.HasSuffix(e.Type, "/duplicate-rules") || e.Title == "DuplicateRule" {
			continue
		}
		return ledger.Errorf(ledger.CodeInvalid, "X does not take the rule %q: %s %s", clip(e.Value), e.Problem, clip(strings.Join(e.Details, "; ")))
	}
	return nil
}

// DeleteRules removes rules by id.
func (c *Client) DeleteRules(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	body := map[string]map[string][]string{"delete": {"ids": ids}}
	if err := c.do(ctx, call{endpoint: endpointRules, method: http.MethodPost, path: rulesPath, body: body, token: c.opts.AppToken}, &rulesAnswer{}); err != nil {
		return fmt.Errorf("deleting stream rules: %w", err)
	}
	return nil
}

// DeclareRules makes the owner's rules on X be exactly these. Rules are the
// owner's when their tag starts with "owner:"; those of others stay untouched.
func (c *Client) DeclareRules(ctx context.Context, owner string, want []Rule) error {
	there, err := c.Rules(ctx)
	if err != nil {
		return err
	}
	prefix := owner + ":"
	missing := map[Rule]bool{}
	for _, r := range want {
		missing[Rule{Value: r.Value, Tag: prefix + r.Tag}] = true
	}
	var stale []string
	for _, r := range there {
		plain := Rule{Value: r.Value, Tag: r.Tag}
		switch {
		case missing[plain]:
			delete(missing, plain)
		case strings.HasPrefix(r.Tag, prefix):
			stale = append(stale, r.ID)
		}
	}
	if err := c.DeleteRules(ctx, stale); err != nil {
		return err
	}
	var add []Rule
	for _, r := range want {
		tagged := Rule{Value: r.Value, Tag: prefix + r.Tag}
		if missing[tagged] {
			delete(missing, tagged)
			add = append(add, tagged)
		}
	}
	return c.AddRules(ctx, add)
}
