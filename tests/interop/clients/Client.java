import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.util.Scanner;

/**
 * Java's HttpClient: what support.sh calls the main job. It asks for HTTP/2 first, by ALPN or by Upgrade, as it does
 * unless told otherwise.
 */
class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder()
            .proxy(ProxySelector.getDefault())
            .followRedirects(HttpClient.Redirect.NORMAL)
            .build();
        Scanner lines = new Scanner(System.in);
        while (lines.hasNext()) {
            String method = lines.next();
            URI uri = URI.create(lines.next());
            String file = lines.next();
            String save = lines.next();
            BodyPublisher body = file.equals("-") ? BodyPublishers.noBody() : BodyPublishers.ofFile(Path.of(file));
            HttpRequest request = HttpRequest.newBuilder(uri)
                .method(method, body)
                .header("Authorization", System.getenv("APPLICATION_AUTHORIZATION"))
                .build();
            System.out.println(client.send(request, BodyHandlers.ofFile(Path.of(save))).statusCode());
        }
    }
}
