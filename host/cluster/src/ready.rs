//! What of a stream is there already, taken at once. `ready_chunks` of the futures crate makes room for the most that may come
//! each time: 200 KB for one changed Pod.

use futures_util::{FutureExt, Stream, StreamExt, stream};

/// Items as they come, up to `max` of those that are there at once. Ends with the stream.
pub(crate) fn chunks<T>(items: impl Stream<Item = T>, max: usize) -> impl Stream<Item = Vec<T>> {
    stream::unfold(Box::pin(items.fuse()), move |mut items| async move {
        let mut chunk = vec![items.next().await?];
        while chunk.len() < max
            && let Some(Some(item)) = items.next().now_or_never()
        {
            chunk.push(item);
        }
        Some((chunk, items))
    })
}

#[cfg(test)]
mod tests {
    use futures_util::pin_mut;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_is_there_comes_at_once_and_what_comes_later_is_not_missed() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let chunks = chunks(stream::poll_fn(move |context| receiver.poll_recv(context)), 3);
        pin_mut!(chunks);
        (1..=4).for_each(|item| sender.send(item).unwrap());
        assert_eq!(chunks.next().await, Some(vec![1, 2, 3]), "no more than asked for");
        assert_eq!(chunks.next().await, Some(vec![4]), "it does not wait for more");
        let later = tokio::spawn(async move {
            tokio::task::yield_now().await;
            sender.send(5).unwrap();
        });
        assert_eq!(chunks.next().await, Some(vec![5]));
        later.await.unwrap();
        assert_eq!(chunks.next().await, None);
    }
}
