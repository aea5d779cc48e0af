# bash completion for synguard; written by `make man`; do not edit
_synguard() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path='' word i words=''
    if declare -F _get_comp_words_by_ref >/dev/null; then _get_comp_words_by_ref -n : cur prev; fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$path,$word" in
        ',run') path='run' ;;
        ',status') path='status' ;;
        ',top') path='top' ;;
        ',bans') path='bans' ;;
        ',ban') path='ban' ;;
        ',unban') path='unban' ;;
        ',extend') path='extend' ;;
        ',allow') path='allow' ;;
        ',import') path='import' ;;
        ',review') path='review' ;;
        ',report') path='report' ;;
        ',why') path='why' ;;
        ',enable') path='enable' ;;
        ',connections') path='connections' ;;
        ',policy') path='policy' ;;
        ',notify') path='notify' ;;
        ',fleet') path='fleet' ;;
        ',upstream') path='upstream' ;;
        ',doctor') path='doctor' ;;
        ',panic') path='panic' ;;
        ',flush') path='flush' ;;
        ',completion') path='completion' ;;
        'allow,add') path='allow add' ;;
        'allow,remove') path='allow remove' ;;
        'allow,resolve') path='allow resolve' ;;
        'allow,list') path='allow list' ;;
        'policy,check') path='policy check' ;;
        'policy,show') path='policy show' ;;
        'policy,replay') path='policy replay' ;;
        'policy,suggest') path='policy suggest' ;;
        'policy,example') path='policy example' ;;
        'notify,test') path='notify test' ;;
        'notify,show') path='notify show' ;;
        'upstream,blackhole') path='upstream blackhole' ;;
        'upstream,release') path='upstream release' ;;
        'upstream,show') path='upstream show' ;;
        esac
    done
    case "$path,$prev" in
    ',--config') compopt -o default 2>/dev/null; return ;;
    'run,--config') compopt -o default 2>/dev/null; return ;;
    'run,--for') words='30s 10m 1h 2h 1d' ;;
    'run,--record') compopt -o default 2>/dev/null; return ;;
    'run,--record-limit') return ;;
    'run,--log-format') return ;;
    'status,--config') compopt -o default 2>/dev/null; return ;;
    'top,--every') words='30s 10m 1h 2h 1d' ;;
    'top,--count') return ;;
    'top,--limit') return ;;
    'top,--config') compopt -o default 2>/dev/null; return ;;
    'bans,--expiring') words='30s 10m 1h 2h 1d' ;;
    'bans,--since') return ;;
    'bans,--target') return ;;
    'bans,--origin') words='auto manual crowdsec' ;;
    'bans,--scope') words='new all' ;;
    'bans,--sort') words='expires left created packets score target' ;;
    'bans,--limit') return ;;
    'bans,--page') return ;;
    'bans,--config') compopt -o default 2>/dev/null; return ;;
    'ban,--file') compopt -o default 2>/dev/null; return ;;
    'ban,--for') words='30s 10m 1h 2h 1d' ;;
    'ban,--scope') words='new all' ;;
    'ban,--action') words='drop reject challenge limit' ;;
    'ban,--ports') return ;;
    'ban,--reason') return ;;
    'ban,--config') compopt -o default 2>/dev/null; return ;;
    'unban,--file') compopt -o default 2>/dev/null; return ;;
    'unban,--config') compopt -o default 2>/dev/null; return ;;
    'extend,--for') words='30s 10m 1h 2h 1d' ;;
    'extend,--until') return ;;
    'extend,--config') compopt -o default 2>/dev/null; return ;;
    'allow add,--comment') return ;;
    'allow add,--for') words='30s 10m 1h 2h 1d' ;;
    'allow add,--config') compopt -o default 2>/dev/null; return ;;
    'allow remove,--config') compopt -o default 2>/dev/null; return ;;
    'allow resolve,--config') compopt -o default 2>/dev/null; return ;;
    'allow list,--config') compopt -o default 2>/dev/null; return ;;
    'import,--for') words='30s 10m 1h 2h 1d' ;;
    'import,--config') compopt -o default 2>/dev/null; return ;;
    'review,--within') words='30s 10m 1h 2h 1d' ;;
    'review,--extend') words='30s 10m 1h 2h 1d' ;;
    'review,--quiet') words='30s 10m 1h 2h 1d' ;;
    'review,--config') compopt -o default 2>/dev/null; return ;;
    'report,--since') return ;;
    'report,--between') return ;;
    'report,--format') words='text json html' ;;
    'report,--output'|'report,-o') compopt -o default 2>/dev/null; return ;;
    'report,--config') compopt -o default 2>/dev/null; return ;;
    'why,--config') compopt -o default 2>/dev/null; return ;;
    'enable,--confirm-within') words='30s 10m 1h 2h 1d' ;;
    'enable,--config') compopt -o default 2>/dev/null; return ;;
    'connections,--by') words='source prefix port state process remote' ;;
    'connections,--state') words='ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING' ;;
    'connections,--port') return ;;
    'connections,--prefix-length') return ;;
    'connections,--limit') return ;;
    'connections,--watch') words='30s 10m 1h 2h 1d' ;;
    'connections,--config') compopt -o default 2>/dev/null; return ;;
    'policy show,--policy') return ;;
    'policy show,--config') compopt -o default 2>/dev/null; return ;;
    'policy replay,--policy') compopt -o default 2>/dev/null; words='bastion default mail proxied strict web' ;;
    'policy replay,--seed') return ;;
    'policy replay,--config') compopt -o default 2>/dev/null; return ;;
    'policy suggest,--output'|'policy suggest,-o') compopt -o default 2>/dev/null; return ;;
    'policy suggest,--margin') return ;;
    'policy suggest,--config') compopt -o default 2>/dev/null; return ;;
    'notify test,--config') compopt -o default 2>/dev/null; return ;;
    'notify show,--config') compopt -o default 2>/dev/null; return ;;
    'fleet,--config') compopt -o default 2>/dev/null; return ;;
    'upstream blackhole,--for') words='30s 10m 1h 2h 1d' ;;
    'upstream blackhole,--config') compopt -o default 2>/dev/null; return ;;
    'upstream release,--config') compopt -o default 2>/dev/null; return ;;
    'upstream show,--config') compopt -o default 2>/dev/null; return ;;
    'doctor,--config') compopt -o default 2>/dev/null; return ;;
    'panic,--config') compopt -o default 2>/dev/null; return ;;
    'flush,--config') compopt -o default 2>/dev/null; return ;;
    esac
    if [ -z "$words" ]; then
        if [[ $cur == -* ]]; then
            case "$path" in
            '') words='--config --json --debug --version -h --help' ;;
            'run') words='--config --dry-run --enforce --for --record --record-limit --force --log-format --verbose -v -h --help' ;;
            'status') words='--config --json -h --help' ;;
            'top') words='--every --count --limit --config --json -h --help' ;;
            'bans') words='--expiring --all-ended --since --target --origin --scope --sort --limit --page --config --json -h --help' ;;
            'ban') words='--file --for --scope --action --ports --reason --force --skip-refused --skip-faulty --dry-run --yes -y --config --json -h --help' ;;
            'unban') words='--file --skip-faulty --all --yes -y --config --json -h --help' ;;
            'extend') words='--for --until --permanent --force --config --json -h --help' ;;
            'allow') words='-h --help' ;;
            'allow add') words='--comment --for --resolve --force --config --json -h --help' ;;
            'allow remove') words='--config --json -h --help' ;;
            'allow resolve') words='--config --json -h --help' ;;
            'allow list') words='--config --json -h --help' ;;
            'import') words='--allow --for --dry-run --yes -y --config --json -h --help' ;;
            'review') words='--within --extend --still-hitting --release --quiet --apply-suggestions --make-permanent --yes -y --config --json -h --help' ;;
            'report') words='--since --between --format --output -o --send --force --config --json -h --help' ;;
            'why') words='--config --json -h --help' ;;
            'enable') words='--confirm-within --confirm --off --force --yes -y --config --json -h --help' ;;
            'connections') words='--by --state --port --prefix-length --limit --listening --udp --watch --config --json -h --help' ;;
            'policy') words='-h --help' ;;
            'policy check') words='--json -h --help' ;;
            'policy show') words='--policy --config --json -h --help' ;;
            'policy replay') words='--policy --seed --config --json -h --help' ;;
            'policy suggest') words='--output -o --margin --keep-incidents --force --config --json -h --help' ;;
            'policy example') words='--allow-list -h --help' ;;
            'notify') words='-h --help' ;;
            'notify test') words='--config --json -h --help' ;;
            'notify show') words='--config --json -h --help' ;;
            'fleet') words='--config --json -h --help' ;;
            'upstream') words='-h --help' ;;
            'upstream blackhole') words='--for --yes -y --config -h --help' ;;
            'upstream release') words='--config -h --help' ;;
            'upstream show') words='--config --json -h --help' ;;
            'doctor') words='--config --json -h --help' ;;
            'panic') words='--over --yes -y --config --json -h --help' ;;
            'flush') words='--yes -y --config --json -h --help' ;;
            'completion') words='-h --help' ;;
            esac
        else
            case "$path" in
            '') words='run status top bans ban unban extend allow import review report why enable connections policy notify fleet upstream doctor panic flush completion' ;;
            'unban') words=$(synguard completion --targets 2>/dev/null) ;;
            'allow') words='add remove resolve list' ;;
            'import') compopt -o default 2>/dev/null; return ;;
            'policy') words='check show replay suggest example' ;;
            'policy check') compopt -o default 2>/dev/null; return ;;
            'policy replay') compopt -o default 2>/dev/null; return ;;
            'policy suggest') compopt -o default 2>/dev/null; return ;;
            'notify') words='test show' ;;
            'upstream') words='blackhole release show' ;;
            'completion') words='bash zsh fish' ;;
            esac
        fi
    fi
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$cur")
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}
complete -F _synguard synguard
