# One of Perl's HTTP clients, named by the argument: each does what support.sh calls the main job.
use strict;
use warnings;

my %headers = (Authorization => $ENV{APPLICATION_AUTHORIZATION});

sub body_of {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    local $/;
    return <$file>;
}

sub with_lwp {
    require LWP::UserAgent;
    my $agent = LWP::UserAgent->new(env_proxy => 1, keep_alive => 4);
    return sub {
        my ($method, $url, $body) = @_;
        my $request = HTTP::Request->new($method, $url, [%headers], $body);
        my $answer = $agent->request($request);
        # LWP makes an answer of its own where there was none.
        die $answer->status_line if ($answer->header('Client-Warning') // '') eq 'Internal response';
        return ($answer->code, $answer->content);
    };
}

sub with_tiny {
    require HTTP::Tiny;
    # It takes a kept tunnel for a connection to the proxy itself, and would send base-URL requests into it.
    my $client = HTTP::Tiny->new(verify_SSL => 1, keep_alive => 0);
    return sub {
        my ($method, $url, $body) = @_;
        my %options = (headers => \%headers);
        $options{content} = $body if defined $body;
        my $answer = $client->request($method, $url, \%options);
        die $answer->{content} if $answer->{status} == 599;
        return ($answer->{status}, $answer->{content});
    };
}

my $send = {LWP => \&with_lwp, Tiny => \&with_tiny}->{$ARGV[0]}->();
while (my $line = <STDIN>) {
    my ($method, $url, $file, $save) = split ' ', $line;
    my ($status, $content) = $send->($method, $url, $file eq '-' ? undef : body_of($file));
    open my $saved, '>:raw', $save or die "$save: $!";
    print $saved $content;
    close $saved or die "$save: $!";
    print "$status\n";
}
