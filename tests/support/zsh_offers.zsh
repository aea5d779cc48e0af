# Prints what zsh offers to complete at the end of a line: zsh_offers.zsh SCRIPT LINE
# A zsh in a pseudo terminal loads the script, is typed the line and Tab; every call of compadd is listened to.
zmodload zsh/zpty || exit 1
offers=$(mktemp)
setup=$(mktemp)
cat > $setup <<END
PS1=
unsetopt zle_bracketed_paste 2>/dev/null
autoload -Uz compinit && compinit -u -D
source $1
compdef _synguard synguard
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "\$@"; return \$?; fi
  local -a found
  builtin compadd -O found "\$@"
  (( \$#found )) && print -rl -- \$found >> $offers
  builtin compadd "\$@"
}
tab() { zle complete-word; print -r -- "TAB""DONE" }
zle -N tab
bindkey '^I' tab
print "READY""NOW"
END
read_until() { local out; while zpty -r z out; do [[ $out == *$1* ]] && return; done; return 1 }
zpty z zsh -f -i
zpty -w z "source $setup"
read_until READYNOW || { echo 'zsh did not start' >&2; exit 1 }
zpty -n -w z "$2"$'\t'
read_until TABDONE || { echo 'Tab was not answered' >&2; exit 1 }
zpty -d z
sort -u $offers
rm -f $offers $setup
