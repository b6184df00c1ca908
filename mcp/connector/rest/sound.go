package rest

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sound reports whether a keyword's value is of the kind that JSON Schema asks for. Published documents hold many that
// are not; one of them would make clients refuse the whole tool, so it is left out.
func sound(m member) bool {
	switch m.name {
	case "enum", "examples", "required":
		return m.value.array
	case "title", "description", "format", "contentEncoding", "contentMediaType":
		return m.value != nil && strings.HasPrefix(string(m.value.scalar), `"`)
	case "deprecated", "readOnly", "writeOnly", "uniqueItems":
		return slices.Contains([]string{"true", "false"}, string(m.value.scalar))
	case "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties":
		f, err := strconv.ParseFloat(string(m.value.scalar), 64)
		return err == nil && f >= 0 && (m.name != "multipleOf" || f > 0) && (m.name == "multipleOf" || f == float64(int64(f)))
	case "minimum", "maximum": // any number; those above are counts
		_, err := strconv.ParseFloat(string(m.value.scalar), 64)
		return err == nil
	case "pattern":
		return portable(m.value.str())
	}
	return true
}

// portable reports whether an expression means the same to all readers of JSON Schema. A client in JavaScript compiles
// patterns strictly, and one that it refuses costs the whole list of tools.
func portable(pattern string) bool {
	if _, err := regexp.Compile(pattern); err != nil || strings.Contains(pattern, "(?") && !strings.Contains(pattern, "(?:") {
		return false
	}
	// escapes that every dialect has; with the flag u a reader in JavaScript refuses all others
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '\\' {
			continue
		}
		if i++; i >= len(pattern) || !strings.ContainsRune(`dDwWsSbBtnrfv/\^$.*+?()[]{}|`, rune(pattern[i])) {
			return false
		}
	}
	return !strings.Contains(pattern, "[[:")
}

// errEndless is the fault of a schema that judges a value by itself, over and over.
var errEndless = errors.New("its schema refers to itself for the same value, without end")

// sameValue are the keywords whose schemas judge the value that the schema around them judges.
var sameValue = words("allOf anyOf oneOf not if then else dependentSchemas")

// endless reports whether judging some value by the definitions would never end. A member or item of its own kind is
// no such case: the value runs out. Our reader of JSON Schema would take the whole process with it.
func (c *converter) endless() bool {
	const open, good = 1, 2
	state := map[string]int{}
	var circles func(name string) bool
	circles = func(name string) bool {
		if state[name] != 0 {
			return state[name] == open
		}
		// each definition is entered once, or alternatives of alternatives would be walked in every combination
		state[name] = open
		for _, next := range meets(c.defs.get(name), nil) {
			if circles(next) {
				return true
			}
		}
		state[name] = good
		return false
	}
	return slices.ContainsFunc(c.defs.members, func(m member) bool { return circles(m.name) })
}

// meets appends the definitions that judge the same value as the schema.
func meets(schema *node, names []string) []string {
	if name, ok := strings.CutPrefix(schema.get("$ref").str(), "#/$defs/"); ok {
		names = append(names, name)
	}
	if schema == nil {
		return names
	}
	for _, m := range schema.members {
		if !sameValue[m.name] {
			continue
		}
		// its own members are names of properties, and the schemas stand one level below
		if m.name != "dependentSchemas" {
			names = meets(m.value, names)
		}
		for _, s := range m.value.items {
			names = meets(s, names)
		}
		for _, s := range m.value.members {
			if m.name == "dependentSchemas" {
				names = meets(s.value, names)
			}
		}
	}
	return names
}
