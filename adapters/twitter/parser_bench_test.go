package twitter_test

import (
	"strings"
	"testing"

	"tweetledger/internal/payments"
)

// tweets are what the bench reads, as people write them.
func tweets() (commands, refused, chatter, others []string) {
	commands = []string{
		"@SmoneyFR #envoyer 20€ @ami",
		"@SmoneyFR #envoyer 12,99€ @yoann_test pour le ciné d'hier 🎬",
		"Ça marche ? @smoneyfr #Envoyer 1\u00a0250,00\u202f€ @yoann_test pour le resto d'hier",
		"@SmoneyFR #don 100EUR @ACF_France faites comme moi & donnez !",
		"@SmoneyFR #send €15 @ami thanks for the lift 🙏 https://t.co/AbCdEfGhIj",
		"@SmoneyFR #solde",
		"@SmoneyFR #annuler Réf. 1A2B3C4D",
	}
	refused = []string{
		"@SmoneyFR #envoyer 1.000€ @ami",
		"@SmoneyFR #envoyer vingt euros @ami",
		"@SmoneyFR #don 20$ @ACF_France",
	}
	chatter = []string{
		"Je viens d'ouvrir mon compte @SmoneyFR, qui a déjà essayé ?",
		"@SmoneyFR bonjour, j'attends toujours une réponse à mon message d'hier… merci de faire le nécessaire 😡",
		"Payer par tweet avec @SmoneyFR : une première mondiale, et c'est français 🇫🇷 #fintech https://t.co/AbCdEfGhIj",
		"Hello @SmoneyFR — how do I open an account? I'm in Lyon",
		"@SmoneyFR @yoann_test vous êtes sérieux ? Votre appli plante depuis 8h ce matin, impossible de me connecter. #fail #appli",
		"J'adore l'idée de @SmoneyFR ❤️ mais qui va oser tweeter ses paiements ?",
		"@SmoneyFR merci !",
	}
	others = []string{
		"Il fait beau à Paris ce matin, je sors prendre un café en terrasse ☕",
		"Match nul 2-2 entre l'OM et le PSG, quelle soirée ! 🔥🔥🔥 #OMPSG",
		"Good morning everyone, have a great day",
		"RT @lemonde: Les chiffres de la croissance au troisième trimestre https://t.co/AbCdEfGhIj",
	}
	return commands, refused, chatter, others
}

// BenchmarkParse reads tweets by kind and in mixes: what mentions the bank (7 of 10
// chatter), and all of X (1 of 100 mentions the bank).
func BenchmarkParse(b *testing.B) {
	p := newParser(b)
	commands, refused, chatter, others := tweets()
	messages := func(texts ...[]string) []payments.Message {
		var list []payments.Message
		for _, part := range texts {
			for _, text := range part {
				list = append(list, written(text))
			}
		}
		return list
	}
	repeat := func(texts []string, n int) []string {
		var list []string
		for len(list) < n {
			list = append(list, texts[len(list)%len(texts)])
		}
		return list
	}
	for _, bench := range []struct {
		name string
		list []payments.Message
	}{
		{"command", messages(commands)},
		{"refused", messages(refused)},
		{"chatter", messages(chatter)},
		{"other", messages(others)},
		{"long other", messages([]string{strings.Repeat("il fait beau à Paris ", 1000)})},
		{"mentions of the bank", messages(repeat(chatter, 70), repeat(commands, 25), repeat(refused, 5))},
		{"all of X", messages(repeat(others, 990), repeat(chatter, 7), repeat(commands, 3))},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.Parse(bench.list[i%len(bench.list)])
			}
		})
	}
}
