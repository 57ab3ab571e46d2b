package twitter

import "tweetledger/ledger"

// currencyWord tells which currency a lower-case word names, of those that
// people write beside an amount.
func currencyWord(word string) currencySign {
	switch word {
	case "eur", "euro", "euros":
		return euroSign
	case "cent", "cents", "centime", "centimes", "ct", "cts":
		return centSign
	case "usd", "gbp", "chf", "jpy", "cad", "aud", "cny", "dollar", "dollars", "pound", "pounds", // not livre(s): those are books as well
		"sterling", "franc", "francs", "yen", "yens", "yuan", "yuans", "bitcoin", "bitcoins", "btc", "eth":
		return foreignSign
	}
	return noCurrency
}

// currencyCode reports whether a word of three letters, written as it stands, is the
// code of a currency other than the euro. Only capitals count: "20 top" is no money.
func currencyCode(word []char) bool {
	var code [3]byte
	for i, c := range word {
		if c.r < 'A' || c.r > 'Z' {
			return false
		}
		code[i] = byte(c.r)
	}
	c := ledger.Currency(code[:])
	return c != ledger.EUR && c.Known()
}
